import type { Language } from '../contract/errors.ts';

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
  alarmText: '{station}: {measure}. Look at it under Live.',
  lineFault: 'The line has a fault',
  measures: {
    novelty: 'parts look less familiar than usual',
    margin: 'verdicts are less clear than usual',
    'feature-mean': 'pictures look different from usual',
    'ng-share': 'the share of NG parts has changed',
    'unsure-share': 'the share of unsure parts has changed',
    'unusual-share': 'more unusual parts than before',
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
  alarmText: '{station}：{measure}。ライブ画面で確認してください。',
  lineFault: 'ラインに異常があります',
  measures: {
    novelty: '部品がいつもより見慣れません',
    margin: '判定がいつもより迷っています',
    'feature-mean': '画像がいつもと違います',
    'ng-share': 'NG の割合が変わりました',
    'unsure-share': '保留の割合が変わりました',
    'unusual-share': '珍しい部品が増えました',
  },
};
export const shellTexts = (language: Language): ShellTexts => (language === 'ja' ? ja : en);
