/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* What the lab told the doubles of this node to do wrong: C:\AlteryxLab\behaviour.ini, lines key=value, read
 * anew at every question. */
#ifndef LAB_BEHAVIOUR_H
#define LAB_BEHAVIOUR_H

/* Whether key has exactly this value. */
int behaves(const char *key, const char *value);
/* The key's value or "". */
const char *behaviour(const char *key);
/* The key's value as a number. */
int behaviour_number(const char *key, int otherwise);
/* Sleep as many milliseconds as the key says. */
void behaviour_delay(const char *key);
#endif
