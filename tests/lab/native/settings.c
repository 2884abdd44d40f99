/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "text.h"

/* Not %ProgramData%: Wine's service manager gives services another value than other processes have. */
static const wchar_t OVERRIDES[] = L"C:\\ProgramData\\Alteryx\\RuntimeSettings.xml";

const wchar_t *install_folder(void)
{
    static wchar_t path[MAX_PATH];
    GetModuleFileNameW(NULL, path, MAX_PATH);
    *wcsrchr(path, L'\\') = 0;
    return path;
}

/* Two levels only, no attributes: a scanner for tags is enough. */
static char *element_of(char *xml, const char *section, const char *element)
{
    char tag[128], *start, *end, *stop;
    snprintf(tag, sizeof tag, "<%s>", section);
    if (!xml || !(start = strstr(xml, tag)))
        return NULL;
    snprintf(tag, sizeof tag, "</%s>", section);
    if (!(stop = strstr(start, tag)))
        return NULL;
    snprintf(tag, sizeof tag, "<%s>", element);
    start = strstr(start, tag);
    if (!start || start > stop)
        return NULL;
    start += strlen(tag);
    snprintf(tag, sizeof tag, "</%s>", element);
    if (!(end = strstr(start, tag)) || end > stop)
        return NULL;
    *end = 0;
    return start;
}

static void unescape(char *value)
{
    static const char *const names[] = {"&lt;", "<", "&gt;", ">", "&quot;", "\"", "&apos;", "'", "&amp;", "&"};
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i += 2)
        for (char *at = value; (at = strstr(at, names[i])); at++) {
            *at = *names[i + 1];
            memmove(at + 1, at + strlen(names[i]), strlen(at + strlen(names[i])) + 1);
        }
}

int settings_are_whole(void)
{
    unsigned long error;
    char *xml = read_file(OVERRIDES, NULL, &error);
    int whole = xml && strstr(xml, "</SystemSettings>");
    free(xml);
    return whole;
}

const char *setting(const char *section, const char *element)
{
    wchar_t defaults[MAX_PATH];
    const wchar_t *files[2] = {OVERRIDES, defaults};
    int i;
    _snwprintf(defaults, MAX_PATH, L"%ls\\RuntimeData\\RuntimeSettings.xml", install_folder());
    for (i = 0; i < 2; i++) {
        unsigned long error;
        char *xml = read_file(files[i], NULL, &error);
        char *value = element_of(xml, section, element);
        if (value) {
            value = strdup(value);
            unescape(value);
            free(xml);
            return value;
        }
        free(xml);
    }
    return "";
}

int setting_true(const char *section, const char *element)
{
    return !_stricmp(setting(section, element), "True");
}

const char *setting_secret(const char *section, const char *element)
{
    static const char key[] = "lab-of-alteryx-ops";
    const char *hex = setting(section, element);
    size_t count = strlen(hex) / 2, i;
    char *clear;
    if (count < 1 || strncmp(hex, "00", 2))
        return "";
    clear = calloc(count, 1);
    for (i = 0; i + 1 < count; i++) {
        unsigned byte = 0;
        sscanf(hex + 2 + 2 * i, "%2x", &byte);
        clear[i] = (char)(byte ^ (unsigned char)key[i % (sizeof key - 1)]);
    }
    return clear;
}
