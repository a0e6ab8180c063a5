/* Sorting and filtering, without a page. */

/* Rows by rising value; NaN last, ties by `numbers`. */
export function sorted(values, numbers) {
  const order = Uint32Array.from(numbers, (_, row) => row);
  return order.sort((a, b) => {
    const x = values[a], y = values[b];
    if (x < y) return -1;
    if (x > y) return 1;
    const oddX = Number.isNaN(x), oddY = Number.isNaN(y);
    return oddX !== oddY ? oddX - oddY : numbers[a] - numbers[b];
  });
}

/* The same, highest first: NaN still last, ties still by number. */
export function reversed(values, numbers) {
  return sorted(Float64Array.from(values, (value) => -value), numbers);
}

/* Counts of the finite values in `bins` equal parts of [low, high]; what lies beyond is in the outermost. */
export function histogram(values, rows, bins, low, high) {
  const counts = new Uint32Array(bins);
  for (const row of rows) {
    const value = values[row];
    if (Number.isNaN(value)) continue;
    const bin = high > low ? Math.floor(((value - low) / (high - low)) * bins) : 0;
    counts[Math.min(bins - 1, Math.max(0, bin))]++;
  }
  return counts;
}

/* What holds all but the outermost 0.2 % at each end, of rows in the order of their values. */
export function robustRange(values, order) {
  const known = order.filter((row) => Number.isFinite(values[row]));
  if (known.length === 0) return [0, 0];
  const cut = Math.floor(0.002 * known.length);
  const ends = [values[known[cut]], values[known[known.length - 1 - cut]]];
  return [Math.min(...ends), Math.max(...ends)];
}
