/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "directory_links.h"

#include <wchar.h>
#include <windows.h>

#include "export_hook.h"

enum { LINUX_UNLINK = 87 };

/* Not the tag of a mount point: for that one .NET first asks to unmount a volume, which Wine does not know. Both tags
 * say that the entry stands for another folder. */
static const DWORD tag = IO_REPARSE_TAG_SYMLINK;

typedef HANDLE(WINAPI *find_first)(const wchar_t *, FINDEX_INFO_LEVELS, void *, FINDEX_SEARCH_OPS, void *, DWORD);
typedef BOOL(WINAPI *find_next)(HANDLE, WIN32_FIND_DATAW *);
typedef BOOL(WINAPI *remove_directory)(const wchar_t *);
typedef char *(CDECL *unix_name)(const wchar_t *);
static find_first wine_find_first;
static find_next wine_find_next;
static remove_directory wine_remove;
static unix_name wine_unix_name;

static void add_tag(WIN32_FIND_DATAW *entry)
{
    if (entry->dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT)
        entry->dwReserved0 = tag;
}

static HANDLE WINAPI find_first_tagged(const wchar_t *path, FINDEX_INFO_LEVELS level, void *entry,
                                       FINDEX_SEARCH_OPS search, void *filter, DWORD flags)
{
    HANDLE found = wine_find_first(path, level, entry, search, filter, flags);
    if (found != INVALID_HANDLE_VALUE)
        add_tag(entry);
    return found;
}

static BOOL WINAPI find_next_tagged(HANDLE search, WIN32_FIND_DATAW *entry)
{
    BOOL found = wine_find_next(search, entry);
    if (found)
        add_tag(entry);
    return found;
}

/* No function of Wine removes a link; in a Wine process the kernel is Linux all the same. */
static long linux_unlink(const char *path)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"((long long)LINUX_UNLINK), "D"(path) : "rcx", "r11", "memory");
    return result;
}

static BOOL WINAPI remove_directory_or_link(const wchar_t *path)
{
    DWORD attributes = GetFileAttributesW(path);
    char *name;
    if (attributes == INVALID_FILE_ATTRIBUTES || !(attributes & FILE_ATTRIBUTE_REPARSE_POINT) || !wine_unix_name)
        return wine_remove(path);
    if ((name = wine_unix_name(path)) && !linux_unlink(name))
        return TRUE;
    SetLastError(ERROR_ACCESS_DENIED);
    return FALSE;
}

void hook_directories(void)
{
    wine_unix_name = (unix_name)(void *)GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "wine_get_unix_file_name");
    wine_find_first = (find_first)hook_export(L"kernel32.dll", "FindFirstFileExW", find_first_tagged);
    wine_find_next = (find_next)hook_export(L"kernel32.dll", "FindNextFileW", find_next_tagged);
    wine_remove = (remove_directory)hook_export(L"kernel32.dll", "RemoveDirectoryW", remove_directory_or_link);
}
