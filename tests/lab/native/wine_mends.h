/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* What .NET needs and Wine 8 lacks. From ../pwsh/native/launcher.c. */
#ifndef LAB_WINE_MENDS_H
#define LAB_WINE_MENDS_H

/* To be called before .NET starts. Does nothing on a real Windows. */
void mend_wine(void);
#endif
