import { z } from 'zod';
import { id } from './values.ts';

/** An auditor reads everything, the trail and the accounts included, and changes nothing. */
export const roleSchema = z.enum(['operator', 'technician', 'supervisor', 'engineer', 'auditor']);
export type Role = z.infer<typeof roleSchema>;
/** Who may do something; `methods.ts` says what, and the window asks for one of them to sign in. */
export const roleSets = {
  workers: ['operator', 'technician', 'supervisor', 'engineer'],
  technicians: ['technician', 'supervisor', 'engineer'],
  supervisors: ['supervisor'],
  configurers: ['engineer', 'supervisor'],
  auditors: ['supervisor', 'engineer', 'auditor'],
} as const satisfies Record<string, readonly Role[]>;

export const languageSchema = z.enum(['en', 'ja']);

/** Of a new account. Of one line, and nothing in it that nobody sees: else nobody can type it, and in lists and in the trail it reads as another one. */
export const accountNameSchema = z
  .string()
  .trim()
  .min(1)
  .max(64)
  .refine((name) => !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(name), 'it holds a character that nobody sees');
export const userSchema = z.object({ id, name: z.string(), role: roleSchema, disabled: z.boolean() });
export type User = z.infer<typeof userSchema>;
