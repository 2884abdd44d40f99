# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reasons and exit codes: the one table of everything that can end a run (design: exit codes)."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

EXIT_CODES: dict[int, str] = {
    0: "success",
    1: "general failure",
    2: "a service or workflow did not stop or start in time",
    3: "validation: nothing was touched, or an archive did not verify",
    4: "storage: the archive could not be written",
    5: "MongoDB: the dump failed",
    6: "invalid mode",
    7: "a service was not brought back",
    8: "another run holds the node",
}


@dataclass(frozen=True)
class Reason:
    """Why something failed: its name, the exit code it leads to, and what the operator does next."""

    name: str
    exit_code: int
    hint: str


def _table(*rows: tuple[str, int, str]) -> dict[str, Reason]:
    return {name: Reason(name, exit_code, hint) for name, exit_code, hint in rows}


REASONS: dict[str, Reason] = _table(
    # Preflight: nothing has been touched.
    ("invalid_mode", 6, "Use full_backup.yml, database_backup.yml or config_backup.yml, or set alteryx_preflight_mode to full, database or config."),
    ("no_hosts", 3, "Check the --limit and the inventory: the hosts of the fleet must be in a child group of the group alteryx."),
    ("unreachable", 3, "Check that WinRM answers on the node and that the credentials of the inventory are right."),
    ("several_fleets", 3, "A run handles exactly one fleet: limit it to one child group of alteryx, e.g. -l alteryx_prod."),
    ("unknown_variable", 3, "Correct the name; the argument specs of the roles list every variable."),
    ("invalid_variable", 3, "Correct the value; the argument specs of the roles say what is allowed."),
    ("not_administrator", 3, "Connect as a member of the node's Administrators group, with full rights (no filtered token)."),
    ("service_absent", 3, "Check that Alteryx Server is installed on this node and that alteryx_preflight_service_name is right."),
    ("service_in_transition", 3, "Wait until the service is Running or Stopped, or bring it there, and run again."),
    ("installation_incomplete", 3, "Check the Alteryx installation of this node."),
    ("settings_missing", 3, "Check the Alteryx installation; System Settings writes this file when it is finished once."),
    ("settings_malformed", 3, "Restore the file from the last backup, or correct it with System Settings, before you back up again."),
    ("no_role", 3, "Check ControllerEnabled, WorkerEnabled and GalleryEnabled in the settings of this node."),
    ("fleet_partial", 3, "Run over the whole fleet, or set alteryx_preflight_partial_fleet: true if the other nodes shall keep running meanwhile."),
    ("topology_contradicts", 3, "Correct the inventory or System Settings; another name of the controller belongs into alteryx_preflight_controller_names."),
    ("settings_contradict", 3, "Correct the named elements with System Settings, or say which database counts with alteryx_preflight_database_kind."),
    ("database_unknown", 3, "Say where the data is with alteryx_preflight_database_kind: embedded, mongodb or sqlserver."),
    ("database_kind_contradicts", 3, "Correct or remove alteryx_preflight_database_kind; the settings of the node say otherwise."),
    ("sqlserver_not_dumped", 3, "Back up SQL Server with its own means and use config_backup.yml, or let full mode run your own tasks for the database."),
    ("database_split", 3, "Turn the named switch off if it is left over; else use config_backup.yml and dump both databases with your own means."),
    ("connection_invalid", 3, "Correct the connection to MongoDB; user and password in a connection string are percent-encoded."),
    ("mongodb_login_missing", 3, "Give user and password of a MongoDB user with the role backup, from a vault: Alteryx keeps its own encrypted."),
    ("mongodump_unusable", 3, "Install MongoDB Database Tools on the controller, 100.3.0 or newer (not 100.4.0), or say where mongodump.exe is."),
    ("mongodb_unreachable", 3, "Check that MongoDB runs, its address, firewall and certificates, from the controller's point of view."),
    ("mongodb_denied", 3, "Check user, password and auth_source in alteryx_preflight_mongodb_connections; the user needs the role backup."),
    ("mongodb_lacks_database", 3, "Check that this is the MongoDB of the Server, the names of its databases in the settings, and the rights of the user."),
    ("oplog_impossible", 3, "Let the services be stopped for the dump, or do not ask for the oplog."),
    ("database_missing", 3, "Check EmbeddedMongoDBRootPath in the settings of this node."),
    ("folder_invalid", 3, "Name a folder on a local drive of the node, e.g. D:\\AlteryxBackups."),
    ("drive_missing", 3, "Name a folder on a drive that this node has."),
    ("space_short", 3, "Free space on the drive, name a folder on another one, or lower alteryx_preflight_space_factor if you know the dump is smaller."),
    ("no_recipient", 3, "Set alteryx_configuration_recipients to your document-encryption certificates, or alteryx_configuration_secrets: skip."),
    ("recipient_invalid", 3, "Give one RSA certificate for Document Encryption, without its key; the README says how to make it. Nothing was touched."),
    ("node_name_invalid", 3, "Rename the host in the inventory: its name becomes a folder name on Windows."),
    ("cluster_resource", 3, "The service belongs to a failover cluster; take the resource offline with the cluster's own means and back up with config mode."),
    ("dependants_running", 3, "Stop the named services first; they would be stopped with the service and not come back by themselves."),
    ("folder_untrusted", 3, "Look at what is in the folder. Then take other accounts out of its permissions (icacls), or remove it while no run lives."),
    ("hold_present", 3, "Somebody wants this node left alone. Remove the file HOLD when that is over."),
    ("run_locked", 8, "Wait for the end of that run. If its control node is gone, the lock becomes stale by itself; then run again."),
    ("foreign_job_alive", 8, "Wait for its end, or decide with alteryx_preflight_foreign_job: wait, take_over or cancel."),
    ("window_open", 8, "Run it over the whole fleet, so that the controller is asked too. If that is lost for good: -e alteryx_preflight_foreign_job=cancel."),
    ("lease_taken", 8, "Another run holds this node. Wait for its end; its guard brings the service back at the deadline."),
    # The guard could not be proved: nothing has been stopped.
    ("task_refused", 3, "Check that the account may create scheduled tasks and that no policy forbids it."),
    ("task_unknown", 1, "Check that the Task Scheduler service of the node runs, then run recover.yml. Lease and guard stay."),
    ("drill_unanswered", 3, "Check that the Task Scheduler runs and that no policy or security software blocks PowerShell scripts run by SYSTEM."),
    ("drill_wrong_account", 3, "Check what changes the account of scheduled tasks on this node."),
    ("no_lease", 3, "A service is stopped only under a lease of the same run; take one with maintenance_lease first."),
    # Window.
    ("schedules_unreachable", 3, "Check the address of the Server's API and that its UI node is up, or do not have schedules paused."),
    ("schedules_denied", 3, "Check the API key and secret; pausing schedules needs those of a curator."),
    ("schedules_unclear", 3, "Look at what the API answers; its paths and fields can be set."),
    ("schedules_record_bad", 3, "Look at the record of paused schedules, enable by hand what it names, and remove it."),
    ("schedules_not_resumed", 1, "Enable the named schedules in the Server, or let recover.yml do it once the API answers; their record stays until then."),
    ("hook_failed", 1, "Look at your own tasks around the window (alteryx_window_before, _after or _database); the message names file, task and cause."),
    ("drain_timeout", 2, "Wait for the named workflows or cancel them, raise alteryx_window_drain_timeout, or set alteryx_window_force."),
    ("stop_timeout", 2, "Look at the Alteryx service log for what holds the service; raise alteryx_window_stop_timeout if it only needs longer."),
    ("processes_left", 2, "End or wait for the named processes; a database that is still open must not be dumped."),
    ("service_moved", 5, "Find out who started the service during the backup and run again."),
    ("staging_in_use", 4, "Remove the folder if no other run uses it, or set another alteryx_preflight_staging_directory."),
    ("dump_failed", 5, "Read the output of emongodump in the log; the service is back. Run again once the cause is gone."),
    ("dump_incomplete", 5, "The tool said nothing, the dump itself shows it. Check free space and the MongoDB log, then run again."),
    ("dump_timeout", 5, "Raise alteryx_window_dump_timeout if the database only needs longer."),
    ("service_started_during_dump", 5, "Find out who starts the service (monitoring, cluster, a person) and silence it during the window."),
    ("lease_lost", 5, "The guard has brought the service back during the dump; read guard.log in the state folder for why, then run again."),
    ("space_reserve", 4, "Free space on the drive of the staging directory; the service is back."),
    ("downtime_limit", 5, "Raise alteryx_window_max_downtime if the service may be down longer; it is back now."),
    ("gate_closed", 2, "Not every node was ready for the window, so nothing was dumped. Look at the named node."),
    ("window_job_alive", 1, "Wait for the window job; it restores the service itself. playbooks/recover.yml ends it if it must be."),
    ("held_by_operator", 7, "The file HOLD keeps the service down. Run restore-service.cmd in the state folder of the node when that is over."),
    ("controller_silent", 2, "Its service runs; look why nobody answers there, or correct alteryx_window_controller_port or alteryx_window_health_url."),
    ("service_restored_late", 2, "The service is back. Read the Alteryx service log for why its start took longer, or raise alteryx_window_start_timeout."),
    ("service_logon_failed", 7, "Correct the password of the service's account (or unlock it), then start the service now."),
    ("service_not_restored", 7, "Start the service on this node now (Start-Service AlteryxService) and read the Alteryx service log."),
    # Files, archive, verification.
    ("critical_file_missing", 1, "Check the Alteryx installation of this node: this file must exist."),
    ("secret_unreadable", 1, "Run the verb by hand in an elevated prompt on the node; set alteryx_configuration_secrets: skip to go on without secrets."),
    ("file_vanished", 4, "Find out what removes this file during the backup and run again."),
    ("file_unreadable", 4, "Check the disk and the rights of the staging directory, then run again."),
    ("file_changed", 4, "Find out what writes this file during the backup and run again."),
    ("archive_exists", 4, "Nothing is overwritten. Move the existing file away or wait a second and run again."),
    ("archive_failed", 4, "Check the free space and the rights of the archive directory."),
    ("archive_incomplete", 3, "Do not rely on this archive; make a new backup."),
    ("archive_bad", 3, "Do not rely on this archive; make a new backup and check the disk."),
    # Jobs and connection.
    ("job_exists", 1, "A job of this run is on the node already; wait for its end."),
    ("job_not_started", 1, "Check the Task Scheduler's history on the node for why the task did not begin."),
    ("job_died", 1, "Look for who ended the process on the node (reboot, security software, a person)."),
    ("job_lost", 1, "Somebody removed the job's folder on the node; run again."),
    ("job_timeout", 1, "Raise the time limit of this step if it only needs longer."),
    ("connection_lost", 1, "Check the network and the node; what was stopped there is restored by the node itself."),
    ("report_failed", 1, "Check the folder on the control node: free space, rights, and that no file has its name."),
    ("unexpected", 1, "Run again with -vvv; if it stays, report it with the log of the run."),
)


class StepFailed(Exception):
    """A step failed for a named reason.

    Args:
        reason: a name of REASONS; an unknown one becomes "unexpected".
        message: one line for the operator: what failed, with the values that matter.
        detail: further facts for outcome.json, never secrets.
    """

    def __init__(self, reason: str, message: str, detail: t.Mapping[str, t.Any] | None = None) -> None:
        super().__init__(message)
        self.reason = REASONS.get(reason, REASONS["unexpected"])
        self.message = message
        self.detail = dict(detail or {})


def overall_exit_code(codes: t.Sequence[int]) -> int:
    """The exit code of a run from the codes of its failures in the order they happened.

    7 (a service was not brought back) outranks all; otherwise the first failure is the cause and what follows is its consequence.
    """
    failures = [code for code in codes if code != 0]
    if not failures:
        return 0
    return 7 if 7 in failures else failures[0]
