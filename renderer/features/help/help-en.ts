/** Words and numbers of the window, explained for whoever reads them: an area, what it is called there, what it means. */
export const helpEn = {
  live: {
    verdict: [
      'Verdict',
      'OK: no defect was found. NG: a defect class was recognised. UNSURE: a person has to look. An error is always UNSURE, never OK.',
    ],
    confidence: [
      'Confidence and limit',
      'How sure the model is of its class, 0 to 1, corrected on parts it had not learnt: of parts judged with 0.90, about 90 % are right. Below the limit beside it the part is UNSURE.',
    ],
    novelty: [
      'Novelty',
      'How unlike everything labelled so far the part looks. Above its limit it is UNSURE, whatever the confidence: this is how new kinds of defects are found.',
    ],
    tile: [
      'Tile',
      'A large picture is judged piece by piece, so that small defects are seen. The worst piece decides; it is framed with dots.',
    ],
    heatMap: [
      'Heat map',
      'Where in the picture the reasons for the class lie: from violet (a little) to yellow (most). It explains the verdict; it measures no size.',
    ],
    yield: ['Yield', 'Parts judged OK, of all parts since the start of the line.'],
    ppm: ['ppm', 'NG parts per million parts.'],
    latency: [
      'Frame to verdict, p50 and p99',
      'Milliseconds from the picture to the verdict. Half of the parts took p50 or less; of a hundred parts, ninety-nine took p99 or less.',
    ],
    dropped: [
      'Dropped frames, lost records',
      'Dropped: the camera or the PC did not keep up, and these parts were not judged OK. Lost: a power cut took the record; the gap in the numbers stays visible.',
    ],
    alarm: [
      'Alarm',
      'The last parts differ from the first 500 after the model was activated by more than chance explains. Look at the parts, the lamp and the lens before you trust the verdicts.',
    ],
  },
  label: {
    order: [
      'Most useful first',
      'Parts that would teach the model most come first: those it does not know, those between two classes, and not the same picture ten times.',
    ],
    margin: [
      'Margin',
      'Distance between the best and the second best class, 0 to 1. Near 0 the model could not decide.',
    ],
    alike: [
      'Look-alikes',
      'Parts whose pictures resemble each other. They can be labelled in one stroke; press a picture to leave it out.',
    ],
    doubt: [
      'Doubted labels',
      'A model that had not learnt this part says something else, and surely so; or copies of the picture have another label. One of the two is wrong: you decide.',
    ],
    copies: [
      'Almost the same pictures',
      'Labelled pictures that differ in next to nothing: two shots of one part, or a copy. Those under different classes come first. What you leave out keeps its picture and teaches nothing from the next update on; Undo gives the label back.',
    ],
    contrast: [
      'Contrast',
      'Spreads the grey values that occur over the whole range. It changes what you see, not what is learnt.',
    ],
    labelled: [
      'Labelled parts',
      'What is labelled, to be looked at again (L): another class or back to the queue. The next update learns it as if the old label had never been.',
    ],
    compare: ['Compare', 'Labelled parts of a class beside this one, with the same zoom and contrast.'],
    skip: [
      'Skip',
      'S leaves the part out of the queue without a label. It does not come again by itself: Undo brings it back, or somebody who sends it to the queue again.',
    ],
    undo: [
      'Undo',
      'Z takes back your last label, U shows all of them. Nothing is learnt from a label before the next update.',
    ],
  },
  learn: {
    update: [
      'Update',
      'All labels are learnt exactly, in seconds: the result is the same as if everything had been learnt at once, so nothing old is forgotten.',
    ],
    balanced: [
      'Balanced accuracy',
      'The mean of the shares recognised in each class: a rare class counts as much as a frequent one. Measured on parts that were held out.',
    ],
    interval: [
      '95 % interval',
      'The range in which the true value lies with 95 % certainty. With few parts it is wide; more labelled parts narrow it.',
    ],
    front: [
      'On the front',
      'No other candidate is both faster and more accurate. What is beaten on both is listed, but nobody needs it.',
    ],
    faster: [
      'Faster',
      'Measured on this PC against the uncompressed model, both in turn. What is not faster is not offered.',
    ],
    precision: [
      'INT8, fp32',
      'How numbers are stored: INT8 is smaller and mostly faster; the accuracy shown is that of the model as it will run.',
    ],
  },
  approve: {
    gate: [
      'Gate',
      'A limit of the station. Pass: the bound keeps it, not only the measured value. More needed: too few parts to show it; then a written reason is asked for.',
    ],
    bound: [
      '95 % bound',
      'The worst that the counts still allow: with 0 wrong of 59 the true rate may be 5 %. It is exact (Clopper-Pearson), not an approximation.',
    ],
    escape: ['Escape', 'An NG part judged OK: the defect reaches the customer.'],
    overkill: ['Overkill', 'An OK part judged NG: good parts are thrown away.'],
    recall: ['Recall', 'Of the parts of a class, the share that was recognised as that class.'],
    changed: [
      'Changed verdicts',
      'Pictures that the candidate judges otherwise than the active model. Each has to be seen before the button works: numbers do not show which parts they are.',
    ],
    parity: [
      'Parity',
      'The model that was measured and the one that will run gave the same answers to the same pictures.',
    ],
    calibration: ['Calibration error', 'How far stated confidences are from what was really right, on average.'],
    signature: [
      'Signature',
      'Binds your name to this model, its data and its evidence by their hashes. A changed file no longer fits it and is refused.',
    ],
  },
  models: {
    lineage: ['Lineage', 'Which knowledge a model was made from, and which labels that knowledge has learnt.'],
    rollback: [
      'Roll back',
      'The model that was active before inspects again, between two parts. It is signed and stays in the records.',
    ],
    measured: [
      'Measure again',
      'Lets the model judge the pictures of its evidence once more on this PC, and times it. Where both keep the limits, the reminder to look at the model again is over.',
    ],
    hash: ['Hash', 'A fingerprint of a file: one changed bit gives another one.'],
  },
  reports: {
    pareto: [
      'Defects by class',
      'Most frequent first, with the running share: the first two or three are usually where work pays.',
    ],
    estimates: [
      'Checked by people',
      'Among parts that somebody labelled, those that were judged wrongly, with exact bounds. Doubtful parts are labelled more often, so this is no rate of the line.',
    ],
    drift: [
      'Drift',
      'A slow change of parts, light or camera. The charts compare with the first parts after activation.',
    ],
    study: [
      'Acceptance study',
      'People judge the same parts blind and in several rounds. It shows whether the label of a part can be relied on at all.',
    ],
    kappa: [
      'Kappa',
      'Agreement beyond what chance alone would give: 1 is full agreement, 0 is chance. From 0.75 on it counts as good.',
    ],
  },
  settings: {
    criteria: [
      'Acceptance criteria',
      'What a candidate has to keep at this station. They are judged by bounds: stricter limits need more labelled parts.',
    ],
    deadline: ['Deadline', 'A verdict that comes later is UNSURE: late, and the line is told so in time.'],
    recovery: [
      'Recovery code',
      'The only way back in for a supervisor who has lost the password. It belongs on paper, not on this PC.',
    ],
  },
  audit: {
    chain: [
      'Chain',
      'Each entry contains the hash of the one before: an entry that was changed, taken out or moved is found.',
    ],
  },
} as const;

type Entries = {
  readonly [A in keyof typeof helpEn]: { readonly [K in keyof (typeof helpEn)[A]]: readonly [string, string] };
};
export type Help = Entries;
