/* The panel over a screen image: figures of a run, in a font of our own. */
#ifndef RELIVE_ANALYSIS_HUD_H
#define RELIVE_ANALYSIS_HUD_H

#include "analysis/frames.h"
#include "analysis/telemetry.h"
#include "dev/display.h"

/* Draw over the top left of a copy of the picture; what does not fit is cut. */
void hud_draw(struct screen *screen, const struct telemetry_view *view,
              const struct frame_figures *frames);

/* The panel's lines, separated by '\n'. */
enum { HUD_TEXT = 1024 };
void hud_text(const struct telemetry_view *view,
              const struct frame_figures *frames, char text[HUD_TEXT]);

#endif
