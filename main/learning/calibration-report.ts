import type { Criteria } from '../contract/domain.ts';
import { calibrationError, chooseThresholds, fitTemperature, type HeldOut, type Shown } from './calibration.ts';
import type { Matrix, Products } from './dense.ts';
import { heldOutOf } from './knowledge.ts';
import { crossValidate, type Choice, type LedgerRow } from './selection.ts';

/** Expected calibration error of softmax(logits), and of softmax(logits / temperature). */
export interface CalibrationErrors {
  eceBefore: number | null;
  ece: number | null;
}

export interface CalibrationReport extends CalibrationErrors {
  /** Fitted on held-out folds. */
  temperature: number;
  /** The same on those folds: the temperature was fitted on them. */
  validation: CalibrationErrors;
  escape: Shown;
  overkill: Shown;
  /** Share of held-out parts that no threshold lets through. */
  unsureShare: number | null;
}

const errorsOf = (heldOut: HeldOut, temperature: number): CalibrationErrors => ({
  eceBefore: calibrationError(heldOut, 1),
  ece: calibrationError(heldOut, temperature),
});

/** Temperature and thresholds from the folds, and what they are worth there. */
export function reportHeldOut(
  heldOut: HeldOut,
  okIds: ReadonlySet<string>,
  criteria: Pick<Criteria, 'maxEscape' | 'maxOverkill'>,
): CalibrationReport {
  const temperature = fitTemperature(heldOut);
  const { escape, overkill, unsureShare } = chooseThresholds(heldOut, temperature, okIds, criteria);
  const validation = errorsOf(heldOut, temperature);
  return { ...validation, temperature, validation, escape, overkill, unsureShare };
}

/**
 * Calibration of a linear head: temperature on held-out folds of the training rows, errors there and on test rows.
 * @param z embedded training rows, one per ledger row
 */
export async function reportCalibration(
  { z, ledger, choice }: { z: Matrix; ledger: readonly LedgerRow[]; choice: Choice },
  test: HeldOut,
  products: Products,
): Promise<Pick<CalibrationReport, 'temperature' | 'ece' | 'eceBefore' | 'validation'>> {
  const heldOut = heldOutOf(await crossValidate(z, ledger, products, { fixed: choice }), ledger);
  const temperature = fitTemperature(heldOut);
  return { temperature, ...errorsOf(test, temperature), validation: errorsOf(heldOut, temperature) };
}
