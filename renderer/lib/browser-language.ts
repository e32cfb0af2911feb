// Imported before the chart library, which makes a number format for `navigator.language` as it is loaded. Under the POSIX locale (a Linux
// PC with LANG=C) Chromium calls that language "en-US@posix", which no format takes: the whole window would stay empty.
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  const [language = 'en'] = navigator.language.split('@');
  Object.defineProperty(navigator, 'language', { value: language, configurable: true });
}
