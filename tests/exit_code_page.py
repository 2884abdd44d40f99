# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of exit codes and reasons, from the table in the code: `python -m tests.exit_code_page` (make docs) writes docs/exit_codes.md."""

from __future__ import annotations

from pathlib import Path

from tests.collection_link import link_collection

PAGE = Path(__file__).resolve().parent.parent / "docs" / "exit_codes.md"

_HEAD = """<!-- Written by `make docs` from plugins/plugin_utils/_outcome.py. Do not edit. -->
# Exit codes and reasons

`ansible-playbook` ends with one of these codes when the callback `alteryx_ops.server_backup.exit_code` is enabled, as `playbooks/ansible.cfg` does it.
Without the callback Ansible's own codes apply (2 there means that a host failed); `outcome.json` holds the code in either case.

A run has one code. 7 outranks all others; otherwise the first failure is the cause, and what follows is its consequence. `outcome.json`, the log and the
last lines on the screen name the reason, node, step, what happened and what to do next.
"""

_WHEN = {
    0: "Every planned node shows its dump, its service as it was before, and an archive that was read back.",
    1: "None of the others.",
    2: "Something took longer than its limit. The service is back, or was never stopped.",
    3: "Before anything is touched, or when an archive is not what it should be.",
    4: "Files, space or archive. The service is back, or was never stopped.",
    5: "The dump does not count. The service is back.",
    6: "Before anything is touched.",
    7: "A service may be down **now**: act at once.",
    8: "Before anything is touched.",
}

MEANINGS = {
    "invalid_mode": "There is no such mode.",
    "no_hosts": "The play has no host: the limit or the inventory names none.",
    "unreachable": "The node does not answer, or refuses the log-in, before anything was touched.",
    "several_fleets": "The hosts of the run belong to no fleet or to more than one, or more than one is a controller.",
    "unknown_variable": "A variable looks like one of this collection and is none.",
    "invalid_variable": "A value is not allowed.",
    "not_administrator": "The account has no administrator rights on the node.",
    "service_absent": "There is no such Windows service on the node.",
    "service_in_transition": "The service is neither Running nor Stopped.",
    "installation_incomplete": "AlteryxService.exe is absent.",
    "settings_missing": "RuntimeSettings.xml is absent.",
    "settings_malformed": "RuntimeSettings.xml cannot be read: broken XML, a DTD, more than 10 MB.",
    "no_role": "By its settings the node is neither controller nor worker nor UI.",
    "fleet_partial": "The limit leaves out nodes of the fleet, and services would be stopped.",
    "topology_contradicts": "A node of the inventory does not belong to the controller by its own settings.",
    "settings_contradict": "Switches in the settings of a node contradict each other.",
    "database_unknown": "The settings do not show where the controller keeps its data.",
    "database_kind_contradicts": "The kind of database given by a variable is not that of the settings.",
    "sqlserver_not_dumped": "The controller keeps its data in SQL Server.",
    "database_split": "The UI keeps a database elsewhere than in the embedded MongoDB.",
    "connection_invalid": "A connection to MongoDB cannot be used as it is written.",
    "mongodb_login_missing": "A MongoDB asks for a user and password that nobody has given.",
    "mongodump_unusable": "There is no mongodump that can be used.",
    "mongodb_unreachable": "The self-managed MongoDB does not answer.",
    "mongodb_denied": "The self-managed MongoDB refuses the user of the backup, or does not let it read what is needed.",
    "mongodb_lacks_database": "The self-managed MongoDB holds no data of an Alteryx Server.",
    "oplog_impossible": "A dump with the oplog is asked for where there can be none.",
    "schedules_unreachable": "The API of the Server does not answer.",
    "schedules_denied": "The API of the Server refuses the key.",
    "schedules_unclear": "The API of the Server answers something else than expected.",
    "schedules_record_bad": "The record of schedules that a run has paused cannot be used.",
    "schedules_not_resumed": "Schedules that were paused for the window could not be enabled again.",
    "database_missing": "The folder of the embedded MongoDB is absent.",
    "folder_invalid": "A folder of the configuration is a file, or no absolute path.",
    "drive_missing": "The node has no such drive.",
    "space_short": "Less space than the dump and the archive are expected to need.",
    "no_recipient": "Nobody could open the secrets.",
    "recipient_invalid": "A recipient is no certificate that secrets can be encrypted for.",
    "node_name_invalid": "The name of the host is no name of a folder on Windows.",
    "cluster_resource": "A failover cluster owns the service and would start it again.",
    "dependants_running": "Other services need this one and run.",
    "folder_untrusted": "Somebody else could have prepared a folder of this collection on the node.",
    "hold_present": "The file HOLD is in the state folder.",
    "run_locked": "Another run is at work on the node.",
    "foreign_job_alive": "A job of a dead run still works on the node.",
    "window_open": "The node is held for a window on its controller, which has not been asked.",
    "lease_taken": "Another run has arranged the restart of the service.",
    "task_refused": "The Task Scheduler did not take a task.",
    "task_unknown": "The Task Scheduler does not tell whether a task is registered.",
    "drill_unanswered": "The guard did not answer in its drill, so nothing was stopped.",
    "drill_wrong_account": "The guard answered as another account than SYSTEM, so nothing was stopped.",
    "no_lease": "A stop was asked for without a lease of the same run.",
    "hook_failed": "Tasks of the operator before or after the window, or in place of a dump, have failed.",
    "drain_timeout": "Workflows still run at the end of the wait; nothing was stopped.",
    "stop_timeout": "The service did not stop in time.",
    "processes_left": "The service is Stopped, but its database or workflows still run.",
    "service_moved": "The service was Stopped when the lease was taken and is not any more.",
    "staging_in_use": "The dump folder of the run exists already.",
    "dump_failed": "emongodump says or shows by its exit code that it failed.",
    "dump_incomplete": "The dump lacks what it must have, whatever the tool said.",
    "dump_timeout": "The dump took longer than its limit and was ended.",
    "service_started_during_dump": "The service was seen not Stopped while the dump ran.",
    "lease_lost": "The lease changed while the dump ran: the guard has taken over.",
    "space_reserve": "Free space fell below the reserve, so the dump was ended.",
    "downtime_limit": "The service was down for longer than allowed, so the dump was ended.",
    "gate_closed": "A node has not shown that it is ready for the window.",
    "window_job_alive": "A start was asked for while a window job works; it would spoil the dump.",
    "held_by_operator": "The file HOLD keeps the service down.",
    "controller_silent": "Its service runs again after the window, and nobody answers on its port or web address.",
    "service_restored_late": "The service came back only after the window job had given up.",
    "service_logon_failed": "A service was not brought back, because its account could not log on.",
    "service_not_restored": "The service is not, or was not seen, as it was before the run.",
    "critical_file_missing": "A file that every node of this role has is absent.",
    "secret_unreadable": "AlteryxService.exe gave no usable answer for a secret.",
    "file_vanished": "A file was listed and was gone when its turn came.",
    "file_unreadable": "A file cannot be opened or read.",
    "file_changed": "A file changed while it was copied or archived.",
    "archive_exists": "A file of that name exists already, with other content.",
    "archive_failed": "The archive could not be written.",
    "archive_incomplete": "There is no .sha256 file, or no manifest in the archive.",
    "archive_bad": "The archive is not what its manifest and its .sha256 file say.",
    "job_exists": "A job of that name is on the node already.",
    "job_not_started": "The task of a job was started, but its script has not begun.",
    "job_died": "The process of a job has ended without a result.",
    "job_lost": "The folder of a job is gone.",
    "job_timeout": "A job was not done within its limit and was ended.",
    "connection_lost": "The node stopped answering after the run had begun.",
    "report_failed": "A report cannot be written on the control node.",
    "unexpected": "Nobody has foreseen this failure.",
}


def page() -> str:
    """The text of the page."""
    # Inside: started by hand, the collection's name resolves only after the lines at the end.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import EXIT_CODES, REASONS

    lines = [_HEAD, "| code | meaning | |", "|---|---|---|"]
    lines += [f"| {code} | {meaning} | {_WHEN[code]} |" for code, meaning in EXIT_CODES.items()]
    for code, meaning in EXIT_CODES.items():
        reasons = [reason for reason in REASONS.values() if reason.exit_code == code]
        if reasons:
            lines += ["", f"## {code}: {meaning}", "", "| reason | meaning | what to do next |", "|---|---|---|"]
            lines += [f"| `{reason.name}` | {MEANINGS[reason.name]} | {reason.hint.replace('|', chr(92) + '|')} |" for reason in reasons]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(link_collection()))
    PAGE.write_text(page(), encoding="utf-8")
