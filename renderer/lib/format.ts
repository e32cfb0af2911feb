/* Numbers and times as text. Pure: the locale is given. */

/** 0.98712 -> "98.71" (per cent without the sign). */
export const percentText = (share: number, digits = 2): string => (100 * share).toFixed(digits);

/** Three significant figures for small numbers, one decimal from 10 up: 0.437, 2.93, 16.8, 204. */
export function millisText(ms: number): string {
  if (ms >= 100) return ms.toFixed(0);
  if (ms >= 10) return ms.toFixed(1);
  if (ms >= 1) return ms.toFixed(2);
  return ms.toFixed(3);
}

export const ratioText = (ratio: number): string => (ratio >= 100 ? ratio.toFixed(0) : ratio.toFixed(1));
export const megabytesText = (bytes: number): string => (bytes / 1e6).toFixed(1);
export const gigabytesText = (bytes: number): string => (bytes / 1e9).toFixed(bytes < 1e10 ? 1 : 0);
/** Millions, without a unit. */
export const megaText = (count: number): string => (count / 1e6).toFixed(count >= 1e8 ? 0 : 1);
const numberFormats = new Map<string, Intl.NumberFormat>();
/** Digits grouped as the language does it. A format is made once: making one takes as long as a hundred uses. */
export function numberText(value: number, locale: string): string {
  let format = numberFormats.get(locale);
  if (!format) numberFormats.set(locale, (format = new Intl.NumberFormat(locale, { maximumFractionDigits: 20 })));
  return format.format(value);
}
/** Names one after the other, each told from the next. */
export const listText = (names: readonly string[], locale: string): string =>
  names.join(locale.startsWith('ja') ? '、' : ', ');
export const countText = (count: number, locale: string): string => numberText(Math.round(count), locale);
/** "9f2c·41ae": enough of a hash to compare by eye. */
export const hashText = (hash: string): string => `${hash.slice(0, 4)}·${hash.slice(4, 8)}`;

/** Ids made of random digits are long: enough of one to tell it from the others on a screen. */
export const shortId = (id: string): string => (id.length > 8 ? id.slice(0, 7) : id);

/** Plus and a true minus, with the digits given: +0.3, −1.9, 0.0. */
export function signedText(value: number, digits = 1): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return value < 0 ? `−${text}` : `+${text}`;
}

const two = (value: number): string => String(value).padStart(2, '0');
/** Local time, the same in both languages: 10:42:17. */
export function timeText(iso: string, withSeconds = true): string {
  const date = new Date(iso);
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return withSeconds ? `${minutes}:${two(date.getSeconds())}` : minutes;
}
export function dateText(iso: string): string {
  const date = new Date(iso);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
/** Month and day where the year is clear: 09-03. */
export const dayText = (iso: string): string => dateText(iso).slice(5);
export const dateTimeText = (iso: string): string => `${dateText(iso)} ${timeText(iso)}`;
/** The time of what is of today, else with its day, and with its year where that is another one: a line runs for weeks, and a part waits for as long. */
export function momentText(iso: string, now: Date, withSeconds = true): string {
  const [day, today, time] = [dateText(iso), dateText(now.toISOString()), timeText(iso, withSeconds)];
  if (day === today) return time;
  return `${day.slice(0, 4) === today.slice(0, 4) ? dayText(iso) : day} ${time}`;
}

export interface Duration {
  hours: number;
  minutes: number;
  seconds: number;
}
export function durationOf(seconds: number): Duration {
  const whole = Math.max(0, Math.round(seconds));
  return { hours: Math.floor(whole / 3600), minutes: Math.floor(whole / 60) % 60, seconds: whole % 60 };
}

const minutesText = (minutes: number): string => {
  const ahead = Math.abs(minutes);
  return `UTC${minutes < 0 ? '−' : '+'}${two(Math.floor(ahead / 60))}:${two(ahead % 60)}`;
};
const MONTH_MS = 30 * 86_400_000;
/** This PC's time zone in a period: "Asia/Tokyo, UTC+09:00"; both offsets where a clock change lies in it. @param from ISO 8601, as `to` */
export function zoneText(from: string, to: string): string {
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  const [first, last] = [Date.parse(from), Date.parse(to)];
  // A year that begins and ends in winter has its summer between.
  const months = Array.from({ length: Math.floor((last - first) / MONTH_MS) }, (_, n) => first + (n + 1) * MONTH_MS);
  const offsets = [first, ...months, last].map((at) => minutesText(-new Date(at).getTimezoneOffset()));
  return `${timeZone}, ${[...new Set(offsets)].join(' / ')}`;
}
