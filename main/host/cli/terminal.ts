import { createInterface } from 'node:readline';
import { AppError } from '../../contract/errors.ts';

/** The password of an account: from MEKIKI_PASSWORD, else asked for on the terminal without echo. */
export const readPassword = (userName: string): Promise<string> =>
  readSecret('MEKIKI_PASSWORD', 'password', `of ${userName}`);

/** One that an account is to have from now on. It has a variable of its own: whoever signs in has MEKIKI_PASSWORD, and two accounts with one password sign for each other. */
export const readNewPassword = (userName: string): Promise<string> =>
  readSecret('MEKIKI_NEW_PASSWORD', 'new password', `of ${userName}`);

/** Badge or PIN of an operator. */
export const readCode = (userId: string): Promise<string> => readSecret('MEKIKI_CODE', 'badge or PIN', `of ${userId}`);

/** The code that lets a supervisor in who has no password any more. */
export const readRecoveryCode = (userName: string): Promise<string> =>
  readSecret('MEKIKI_RECOVERY_CODE', 'recovery code', `of ${userName}`);

/** @throws INVALID_INPUT where nobody is there to be asked, CANCELLED for Ctrl-C and for an end of input in place of an answer */
async function readSecret(variable: string, what: string, whose: string): Promise<string> {
  const given = process.env[variable];
  if (given) return given;
  if (!process.stdin.isTTY) {
    throw new AppError('INVALID_INPUT', {
      what,
      problem: `none was given ${whose}; set ${variable} or run in a terminal`,
    });
  }
  process.stderr.write(`${what[0]!.toUpperCase()}${what.slice(1)} ${whose}: `);
  const lines = createInterface({ input: process.stdin, terminal: true });
  // readline echoes through this private hook; hiding it keeps the password off the screen.
  (lines as unknown as { _writeToOutput: () => void })._writeToOutput = () => {};
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.question('', resolve);
      const cancelled = () => reject(new AppError('CANCELLED'));
      lines.on('SIGINT', cancelled).on('close', cancelled);
    });
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
