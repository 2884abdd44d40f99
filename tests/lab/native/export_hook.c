/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "export_hook.h"

#include <string.h>
#include <windows.h>

/* An export is an offset from its module: the jump to the replacement must be less than 4 GiB
 * after the start of the module. */
static unsigned char *memory_behind(char *module, DWORD module_size)
{
    unsigned char *found = NULL;
    char *at = module + ((module_size + 0xffff) & ~0xffffu);
    for (; !found && at < module + 0x70000000; at += 0x100000)
        found = VirtualAlloc(at, 4096, MEM_COMMIT | MEM_RESERVE, PAGE_EXECUTE_READWRITE);
    return found;
}

static void point(DWORD *entry, char *module, DWORD module_size, void *replacement)
{
    DWORD old;
    unsigned char *jump = memory_behind(module, module_size);
    if (!jump || !VirtualProtect(entry, sizeof *entry, PAGE_READWRITE, &old))
        return;
    memcpy(jump, "\x48\xb8", 2); /* mov rax, replacement; jmp rax */
    memcpy(jump + 2, &replacement, sizeof replacement);
    memcpy(jump + 10, "\xff\xe0", 2);
    *entry = (DWORD)((char *)jump - module);
    VirtualProtect(entry, sizeof *entry, old, &old);
}

void *hook_export(const wchar_t *dll, const char *name, void *replacement)
{
    char *module = (char *)LoadLibraryW(dll);
    void *before = module ? (void *)GetProcAddress((HMODULE)module, name) : NULL;
    IMAGE_NT_HEADERS *headers;
    IMAGE_EXPORT_DIRECTORY *exports;
    DWORD *names, *functions, i;
    WORD *ordinals;
    if (!before)
        return NULL;
    headers = (IMAGE_NT_HEADERS *)(module + ((IMAGE_DOS_HEADER *)module)->e_lfanew);
    exports = (IMAGE_EXPORT_DIRECTORY *)(module + headers->OptionalHeader.DataDirectory[0].VirtualAddress);
    names = (DWORD *)(module + exports->AddressOfNames);
    functions = (DWORD *)(module + exports->AddressOfFunctions);
    ordinals = (WORD *)(module + exports->AddressOfNameOrdinals);
    for (i = 0; i < exports->NumberOfNames; i++)
        if (!strcmp(module + names[i], name))
            point(&functions[ordinals[i]], module, headers->OptionalHeader.SizeOfImage, replacement);
    return before;
}
