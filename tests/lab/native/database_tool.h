/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* What emongodump and emongorestore share: the service they need stopped, and the database tools they run. */
#ifndef LAB_DATABASE_TOOL_H
#define LAB_DATABASE_TOOL_H
#include <windows.h>

int service_is_stopped(void);
/* Run a database tool to its end; its output goes to our standard output, unless it is quiet, and,
 * if given, into a log. Its exit code, or -1 when it did not start. */
int run_tool(HANDLE job, const wchar_t *command_line, HANDLE log, int quiet);
#endif
