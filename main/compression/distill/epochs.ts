/** A training step takes about as long as so many forward passes of what is trained (measured: 3.2 to 4.5). */
const FORWARDS_PER_STEP = 4;
const MOST_EPOCHS = 40;

/** Epochs that fit in a time, told from the time of one picture (ms) through the student and through the teacher, and until it is made. */
export const epochsWithin = (
  seconds: number,
  images: number,
  ms: { student: number; teacher: number; view: number },
): number => {
  const perEpoch = (images * (FORWARDS_PER_STEP * ms.student + ms.teacher + ms.view)) / 1000;
  return Math.max(1, Math.min(MOST_EPOCHS, Math.round(seconds / perEpoch)));
};
