import { X509Certificate } from 'node:crypto';
import { AppError, problemOf } from '../../contract/errors.ts';

/**
 * Told when certificates are given, and not by a connection that never comes about.
 * @param pem one or more, of the form that the contract lets pass
 * @throws INVALID_INPUT
 */
export function refuseUnreadable(pem: string): void {
  try {
    for (const one of pem.match(/-----BEGIN.+?-----END CERTIFICATE-----/gs) ?? []) new X509Certificate(one);
  } catch (cause) {
    const problem = `a certificate cannot be read: ${problemOf(cause)}`;
    throw new AppError('INVALID_INPUT', { what: 'tls.ca', problem }, { cause });
  }
}
