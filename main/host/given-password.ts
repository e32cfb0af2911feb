import { AppError } from '../contract/errors.ts';

/** The password of an account where nobody is there to be asked. @throws INVALID_INPUT without MEKIKI_PASSWORD */
export function givenPassword(whom: string): string {
  const given = process.env['MEKIKI_PASSWORD'];
  if (given) return given;
  throw new AppError('INVALID_INPUT', { what: 'password', problem: `none was given for ${whom}; set MEKIKI_PASSWORD` });
}
