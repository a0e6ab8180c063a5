#include "train/task.h"

static const aleat_task *const tasks[] = {&aleat_task_diffusion, NULL};

const aleat_task *const *aleat_tasks(void)
{
    return tasks;
}
