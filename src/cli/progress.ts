/** How far something is, on a terminal. */
const BAR_CHARS = 30;
const BAR_MS = 100;

/** A bar on a terminal, nothing elsewhere. */
export function progressBar(stream: NodeJS.WriteStream) {
  let shownMs = 0;
  let isShown = false;
  return {
    show(done: number, total: number): void {
      const nowMs = performance.now();
      if (!stream.isTTY || (nowMs - shownMs < BAR_MS && done < total)) return;
      shownMs = nowMs;
      isShown = true;
      const share = total === 0 ? 1 : done / total;
      const bar = '#'.repeat(Math.round(share * BAR_CHARS)).padEnd(BAR_CHARS, '.');
      stream.write(`\r[${bar}] ${Math.floor(share * 100)} %`);
    },
    end(): void {
      if (isShown) stream.write('\r\x1b[K');
      isShown = false;
    },
  };
}
