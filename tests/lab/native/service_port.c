/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <winsock2.h>

#include "service_port.h"

#include <stdlib.h>
#include <string.h>

#include "behaviour.h"
#include "settings.h"

static SOCKET listener = INVALID_SOCKET;

/* Any request gets the same answer, which is enough for a client that only checks whether the port answers. */
static DWORD WINAPI answer(void *unused)
{
    static const char text[] = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    SOCKET connection;
    char request[4096];
    (void)unused;
    while ((connection = accept(listener, NULL, NULL)) != INVALID_SOCKET) {
        DWORD limit = 2000;
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, (const char *)&limit, sizeof limit);
        if (recv(connection, request, sizeof request, 0) > 0)
            send(connection, text, (int)strlen(text), 0);
        closesocket(connection);
    }
    return 0;
}

void service_port_open(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int port = atoi(setting("Controller", "ServicePort")), reuse = 1;
    WSADATA winsock;
    if (!setting_true("Controller", "ControllerEnabled") || port == 80 || !port || behaves("port", "closed"))
        return;
    WSAStartup(MAKEWORD(2, 2), &winsock);
    address.sin_port = htons((u_short)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, (const char *)&reuse, sizeof reuse);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) {
        service_port_close();
        return;
    }
    CloseHandle(CreateThread(NULL, 0, answer, NULL, 0, NULL));
}

void service_port_close(void)
{
    if (listener != INVALID_SOCKET)
        closesocket(listener);
    listener = INVALID_SOCKET;
}
