import sharp from 'sharp';

/** An SVG drawing as a square PNG with transparency, for the icons of the installers. `size` in pixels. */
export const drawingAsPng = (svg: Uint8Array, size: number): Promise<Buffer> =>
  sharp(svg, { density: (72 * size) / 24 })
    .resize(size, size, { fit: 'contain', background: '#0000' })
    .png()
    .toBuffer();
