/** How the command ends. */
export const exitCodes = {
  fine: 0,
  failed: 1,
  /** Of the command or in the configuration: nothing was tried. */
  mistake: 2,
} as const;
