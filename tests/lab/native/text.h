/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Text between the two worlds: UTF-8 inside the doubles, UTF-16 towards Windows. */
#ifndef LAB_TEXT_H
#define LAB_TEXT_H
#include <stddef.h>
#include <wchar.h>

/* A growing byte string; data is always ended by a zero. */
struct text {
    char *data;
    size_t size;
};

void text_add(struct text *text, const char *bytes, size_t count);
void text_adds(struct text *text, const char *zero_ended);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The string as JSON, with its quotes. */
void text_add_json(struct text *text, const char *utf8);

/* Fresh copies; the caller may keep them for the life of the process. */
wchar_t *wide(const char *utf8);
char *utf8(const wchar_t *wide);

/* A whole file, ended by a zero; NULL and *error (Win32) when it cannot be read. The file is
 * opened with every kind of sharing, so that the reader does not hinder other processes. */
char *read_file(const wchar_t *path, size_t *size, unsigned long *error);
#endif
