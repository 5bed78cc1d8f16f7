/** The names of the operations by their numbers, and counts of them. */
import { OPCODES, type OpName } from './protocol.ts';

/** What is counted: requests with a higher opcode are rare, and answered with ENOSYS. */
export const OPCODE_MAX = 63;

/** By opcode. */
export const OPERATION_NAMES: readonly (OpName | undefined)[] = (() => {
  const names: (OpName | undefined)[] = [];
  for (const name of Object.keys(OPCODES) as OpName[]) names[OPCODES[name]] = name;
  return names;
})();

/** Those of the counts by opcode that are not zero, by name. */
export function namedCounts(counts: Uint32Array): Record<string, number> {
  const named: Record<string, number> = {};
  counts.forEach((count, opcode) => {
    if (count > 0) named[OPERATION_NAMES[opcode] ?? `OPCODE${opcode}`] = count;
  });
  return named;
}
