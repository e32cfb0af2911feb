/* What other folders use. README.md lists it with one line each. */
export * from './rule.ts';
export * from './step.ts';
export type * from './losses.ts';
export type * from './optimizers.ts';
export type { ScheduleSpec } from './schedules.ts';
export { trainableNames } from './trainable.ts';
export { gradientRules } from './rules/index.ts';
export {
  TRAINING_DOMAIN,
  TRAINING_VERSION,
  expandTrainingOps,
  trainingFacts,
  trainingOps,
  type TrainingOp,
} from './training-ops.ts';
