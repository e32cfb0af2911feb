/* The words of the product as types, all that there are. Sizes in pixels, times in ms unless the name says otherwise, accuracies 0..1. */

export * from './domain/job.ts';
export * from './domain/line-status.ts';
export * from './domain/model.ts';
export * from './domain/part.ts';
export * from './domain/people.ts';
export * from './domain/recipe.ts';
export * from './domain/station.ts';
export * from './domain/usb-camera.ts';
export { sha256Schema } from './domain/values.ts';
