/** Files that systems leave in folders of pictures, and half-written copies. @param name without its folder */
export const isClutter = (name: string): boolean =>
  /^[.~]|~$/.test(name) || /^(thumbs\.db|desktop\.ini)$/i.test(name) || /\.(tmp|part|partial|crdownload)$/i.test(name);
