import { z } from 'zod';

/** A USB camera (UVC) that a browser can open; the program's window, or the tab that shows it, reads it. */
export const usbCameraSchema = z
  .object({
    kind: z.literal('usb'),
    /** As the browser that reads it names the device; another browser on the same PC names it otherwise. */
    deviceId: z.string().min(1).max(512).optional(),
    /** As the system calls it: taken where no device has the id, if one alone is called so. */
    label: z.string().min(1).max(512).optional(),
    /** What is not given is left to the browser. A size that the camera does not have is refused, not scaled. */
    width: z.number().int().min(16).max(16_384).optional(),
    height: z.number().int().min(16).max(16_384).optional(),
    frameRate: z.number().min(1).max(1_000).optional(),
    pixelFormat: z.enum(['RGB8', 'Mono8']).default('RGB8'),
    /** Pictures let go after a trigger before one is taken: the first was begun before the trigger came. */
    discard: z.number().int().min(0).max(10).default(1),
  })
  .refine((camera) => camera.deviceId !== undefined || camera.label !== undefined, {
    message: 'a device or its label is needed',
  });
