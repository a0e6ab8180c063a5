#include "cli/message.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void say(const char *prefix, const char *fmt, va_list args)
{
    (void)fprintf(stderr, "aleat: %s: ", prefix);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
}

void aleat_cli_complain(const char *verb, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(verb, fmt, args);
    va_end(args);
}

void aleat_cli_advise(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say("hint", fmt, args);
    va_end(args);
}

void aleat_cli_report(const char *verb, const aleat_error *err)
{
    aleat_cli_complain(verb, "%s", err->message);
    if (err->hint[0])
        aleat_cli_advise("%s", err->hint);
}

// A signal handler can reach nothing but a global.
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

void aleat_cli_catch_interrupts(void)
{
    // SA_RESETHAND: the second signal does what it always does, for whoever cannot wait.
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESETHAND | SA_RESTART};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

bool aleat_cli_interrupted(void)
{
    return interrupted != 0;
}

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

aleat_cli_progress aleat_cli_progress_new(const char *verb, const char *unit, bool quiet)
{
    return (aleat_cli_progress){
        .verb = verb, .unit = unit, .visible = !quiet && isatty(STDERR_FILENO)};
}

void aleat_cli_time_text(char *buf, size_t size, double seconds)
{
    const long s = (long)(seconds + 0.5);
    if (s >= 3600)
        (void)snprintf(buf, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        (void)snprintf(buf, size, "%ld:%02ld", s / 60, s % 60);
}

void aleat_cli_progress_show(aleat_cli_progress *p, double done, double total)
{
    if (!p->visible || total <= 0)
        return;
    const double now = seconds_now();
    if (!p->started) {
        p->started = true;
        p->start = now;
        p->first = (int64_t)done;
    } else if (now - p->last_drawn < 0.1 && done < total) {
        return;
    }
    p->last_drawn = now;
    char bar[25];
    const int filled = (int)(24 * done / total);
    for (int i = 0; i < 24; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[24] = '\0';
    const double passed = now - p->start, fresh = done - (double)p->first;
    char left[32] = "";
    if (fresh > 0 && passed > 0.5)
        aleat_cli_time_text(left, sizeof left,
                            p->left > 0 ? p->left : passed * (total - done) / fresh);
    (void)fprintf(stderr, "\r%s [%s] %.0f/%.0f %s", p->verb, bar, done, total, p->unit);
    if (left[0])
        (void)fprintf(stderr, "  %.2f/s  %s left", fresh / passed, left);
    (void)fputs("\033[K", stderr);
    (void)fflush(stderr);
}

void aleat_cli_progress_clear(aleat_cli_progress *p)
{
    if (p->visible && p->started)
        (void)fputs("\r\033[K", stderr);
    p->started = false;
}
