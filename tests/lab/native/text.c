/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

void text_add(struct text *text, const char *bytes, size_t count)
{
    text->data = realloc(text->data, text->size + count + 1);
    memcpy(text->data + text->size, bytes, count);
    text->size += count;
    text->data[text->size] = 0;
}

void text_adds(struct text *text, const char *zero_ended)
{
    text_add(text, zero_ended, strlen(zero_ended));
}

void text_addf(struct text *text, const char *format, ...)
{
    char line[8192];
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    text_adds(text, line);
}

void text_add_json(struct text *text, const char *utf8)
{
    text_adds(text, "\"");
    for (; *utf8; utf8++) {
        unsigned char c = (unsigned char)*utf8;
        if (c == '"' || c == '\\')
            text_addf(text, "\\%c", c);
        else if (c < 0x20)
            text_addf(text, "\\u%04x", c);
        else
            text_add(text, utf8, 1);
    }
    text_adds(text, "\"");
}

wchar_t *wide(const char *utf8)
{
    int count = MultiByteToWideChar(CP_UTF8, 0, utf8, -1, NULL, 0);
    wchar_t *result = malloc((size_t)count * sizeof *result);
    MultiByteToWideChar(CP_UTF8, 0, utf8, -1, result, count);
    return result;
}

char *utf8(const wchar_t *wide)
{
    int count = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *result = malloc((size_t)count);
    WideCharToMultiByte(CP_UTF8, 0, wide, -1, result, count, NULL, NULL);
    return result;
}

char *read_file(const wchar_t *path, size_t *size, unsigned long *error)
{
    struct text content = {0};
    char block[65536];
    DWORD count;
    HANDLE file = CreateFileW(
        path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING, 0, NULL);
    *error = 0;
    if (file == INVALID_HANDLE_VALUE) {
        *error = GetLastError();
        return NULL;
    }
    text_adds(&content, "");
    while (ReadFile(file, block, sizeof block, &count, NULL) && count)
        text_add(&content, block, count);
    CloseHandle(file);
    if (size)
        *size = content.size;
    return content.data;
}
