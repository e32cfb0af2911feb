import type { PasswordCost } from '../../main/audit/keys.ts';

/** A sixty-fourth of what a password costs, for tests that make keys in order to test something else. The command line, the servers and the windows of the tests pay it in full. */
export const SMALL_COST: PasswordCost = { N: 512, r: 8, p: 1 };
