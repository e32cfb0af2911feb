export { checkAugmentation, planAugmentation, type Augmentation, type AugmentationPlan } from './plan.ts';
export { augmentPixels } from './pixels.ts';
export { augmentPlanes, mixRows, type Planes } from './planes.ts';
export { randomOf, type Random } from './random.ts';
