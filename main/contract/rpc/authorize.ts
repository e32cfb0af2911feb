import type { Role, User } from '../domain.ts';
import { AppError } from '../errors.ts';
import type { MethodName, Methods } from '../methods.ts';

/** Role check of the window's methods, from the map alone. @throws NOT_ALLOWED */
export const createAuthorize =
  (methods: Methods) =>
  (method: MethodName, session: { readonly user: User | null }): void => {
    const roles: readonly Role[] | 'anyone' = methods[method].roles;
    if (roles === 'anyone') return;
    const { user } = session;
    if (!user || user.disabled || !roles.includes(user.role))
      throw new AppError('NOT_ALLOWED', { method, roles: roles.join(' / ') });
  };
