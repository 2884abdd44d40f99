# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option mongodb_connections, which is the same in every module that connects to a self-managed MongoDB."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by ansible-doc, and by _action.argument_spec."""

    DOCUMENTATION = """
options:
  mongodb_connections:
    description: >-
      How the self-managed MongoDB is reached, by part of the Server. What is not given is taken from the settings of
      the nodes, which hold passwords encrypted for the machine: a password always has to be given.
    type: dict
    default: {}
    suboptions:
      service:
        description: >-
          The MongoDB of the Server itself; it also serves for the other parts where they are on the same server.
        type: dict
        suboptions: &connection
          connection:
            description: Host and port, or a connection string (mongodb:// or mongodb+srv://).
            type: str
            required: true
          user:
            description: A MongoDB user with the role backup.
            type: str
            default: ''
          password:
            description: >-
              Its password, from a vault. It is sent encrypted, and is in a protected file while mongodump runs.
            type: str
            default: ''
          auth_source:
            description: Database that knows the user; empty for admin or what the string says.
            type: str
            default: ''
          tls:
            description: Use TLS.
            type: bool
            default: false
          tls_ca_file:
            description: File on the node with the certificates of the authorities to trust (PEM).
            type: str
            default: ''
          tls_certificate_key_file:
            description: File on the node with client certificate and key (PEM).
            type: str
            default: ''
          tls_certificate_key_password:
            description: Password of that key.
            type: str
            default: ''
      web:
        description: Where the UI keeps its database elsewhere (MongoDBWebConnection).
        type: dict
        suboptions: *connection
      search:
        description: Where the UI keeps its search index elsewhere (MongoDBSearchConnection).
        type: dict
        suboptions: *connection
"""
