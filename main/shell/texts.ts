import { errorCatalogue, errorText, type ErrorCode, type Language, type Problem } from '../contract/errors.ts';

/* What the shell itself says: menus, dialogs, notifications. The page's texts are in renderer/lib/i18n. */

const en = {
  file: 'File',
  savePdf: 'Save page as PDF…',
  print: 'Print…',
  quit: 'Quit Mekiki',
  view: 'View',
  larger: 'Larger',
  smaller: 'Smaller',
  usualSize: 'Usual size',
  fullScreen: 'Full screen',
  kiosk: 'Kiosk mode',
  reload: 'Reload the window',
  pdf: 'PDF document',
  lineRuns: 'A line is running.',
  closingStops: 'Closing this window stops the inspection and ends Mekiki.',
  stay: 'Go on inspecting',
  stopAndQuit: 'Stop and quit',
  alarm: 'The line has changed',
  alarmText: '{station}: {measure} Look at it under Live.',
  lineFault: 'The line has a fault',
  faultText: '{station}: {message}',
  // As the window says it: charts of numbers go off both ways, those of shares upwards only.
  measures: {
    novelty: 'The parts look more or less unusual than before.',
    margin: 'The model is less or more certain than before.',
    'feature-mean': 'The pictures have changed (light, focus, position or material).',
    'ng-share': 'More parts are NG than before.',
    'unsure-share': 'More parts are unsure than before.',
    'unusual-share': 'Unusual parts have become more frequent: perhaps a new defect.',
  },
};
export type ShellTexts = typeof en;
const ja: ShellTexts = {
  file: 'ファイル',
  savePdf: 'この画面を PDF で保存…',
  print: '印刷…',
  quit: 'Mekiki を終了',
  view: '表示',
  larger: '拡大',
  smaller: '縮小',
  usualSize: '標準の大きさ',
  fullScreen: '全画面',
  kiosk: 'キオスクモード',
  reload: '画面を読み直す',
  pdf: 'PDF 文書',
  lineRuns: 'ラインが動いています。',
  closingStops: 'この画面を閉じると検査が止まり、Mekiki は終了します。',
  stay: '検査を続ける',
  stopAndQuit: '止めて終了する',
  alarm: 'ラインに変化があります',
  alarmText: '{station}: {measure}ライブ画面で確認してください。',
  lineFault: 'ラインに異常があります',
  faultText: '{station}: {message}',
  measures: {
    novelty: '部品の見慣れなさが以前と変わりました。',
    margin: 'モデルの確信度が以前と変わりました。',
    'feature-mean': '画像が変わりました（照明、ピント、位置、材料）。',
    'ng-share': 'NG の割合が以前より増えています。',
    'unsure-share': '保留の割合が以前より増えています。',
    'unusual-share': '見慣れない部品が増えています。新しい欠陥の可能性があります。',
  },
};
export const shellTexts = (language: Language): ShellTexts => (language === 'ja' ? ja : en);

/** A notification of a line's fault, in that language as well where the catalogue knows the problem. */
export function faultText(language: Language, station: string, problem: Problem | null): string {
  if (problem === null) return station;
  const { code, details } = problem;
  const { message } = code in errorCatalogue ? errorText(code as ErrorCode, details, language) : problem;
  return shellTexts(language)
    .faultText.replace('{station}', () => station)
    .replace('{message}', () => message);
}

/** A notification of an alarm. */
export function alarmText(language: Language, station: string, measure: keyof ShellTexts['measures']): string {
  const texts = shellTexts(language);
  return texts.alarmText.replace('{station}', () => station).replace('{measure}', () => texts.measures[measure]);
}
