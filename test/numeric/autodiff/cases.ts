import { elementwiseCases } from './cases-elementwise.ts';
import { layoutCases } from './cases-layout.ts';
import { matrixCases } from './cases-matrix.ts';
import { windowCases } from './cases-windows.ts';
import type { GradientCase } from './gradient-case.ts';

export const cases: readonly GradientCase[] = [...windowCases, ...elementwiseCases, ...matrixCases, ...layoutCases];

export const nameOf = ({ op, note }: GradientCase): string => (note ? `${op}: ${note}` : op);
