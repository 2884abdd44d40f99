/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Child processes that cannot outlive this process: a job object that is killed with its last handle, and
 * we hold the only one. */
#ifndef LAB_JOB_H
#define LAB_JOB_H
#include <windows.h>

/* A new such job. breakaway: children may leave it on request, as WinRM's job allows. */
HANDLE job_create(int breakaway);
/* Start a command line inside the job. If job is NULL, start it outside of every job, so that it continues when this
 * process ends. NULL standard handles mean NUL. Returns the process handle or NULL (GetLastError). */
HANDLE job_start(HANDLE job, const wchar_t *command_line, HANDLE input, HANDLE output, HANDLE error, DWORD *pid);
#endif
