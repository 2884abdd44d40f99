/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "behaviour.h"

#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "text.h"

const char *behaviour(const char *key)
{
    static _Thread_local char value[256]; /* powershell.exe has many threads */
    unsigned long error;
    char *content = read_file(L"C:\\AlteryxLab\\behaviour.ini", NULL, &error);
    char *line, *rest = NULL;
    value[0] = 0;
    for (line = content ? strtok_r(content, "\r\n", &rest) : NULL; line; line = strtok_r(NULL, "\r\n", &rest)) {
        char *equals = strchr(line, '=');
        if (!equals)
            continue;
        *equals = 0;
        if (!strcmp(line, key)) {
            strncpy(value, equals + 1, sizeof value - 1);
            break;
        }
    }
    free(content);
    return value;
}

int behaves(const char *key, const char *value)
{
    return !strcmp(behaviour(key), value);
}

int behaviour_number(const char *key, int otherwise)
{
    const char *value = behaviour(key);
    return *value ? atoi(value) : otherwise;
}

void behaviour_delay(const char *key)
{
    Sleep((DWORD)behaviour_number(key, 0));
}
