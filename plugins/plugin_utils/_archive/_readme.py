# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""README.txt beside the archives of a node: for a person who has only this folder.

A node writes the file if it is absent, or if this collection wrote it with a lower version. So each change of the text
needs a higher version.
"""

from __future__ import annotations

NAME = "README.txt"
VERSION = 3
"""The version of the text. It is in the first line, in the form that archive_job.ps1 reads."""

_LINES = f"""\
Backups of Alteryx Server (alteryx_ops.server_backup, text version {VERSION})
=====================================================================

This folder holds the backups of one node. A backup is a set of files with the
same name. Times in names are UTC. NAME stands for the common part, such as
ServerBackup_Full_20260901_020000. "Full" has database and configuration, "DB"
the database alone, "Config" the configuration alone.

The zip files are not encrypted. They hold keys and settings of the server.
Restrict access to this folder and to every copy of it.


1. THE FILES

NAME.zip              The backup.
  database\\             Dump of MongoDB, one folder for each database. Only
                        the controller has it.
  configuration\\        Settings, the folder Keys and other critical files of
                        the node. BackupManifest.json names them.
  configuration\\Keys.sddl   Permissions of the folder Keys.
  configuration\\node.json   What else the node had: drivers, data sources,
                        connectors, Python packages, accounts, TLS bindings.
  BackupManifest.json   What the backup holds: every file with its size and
                        SHA-256, versions of Alteryx Server and MongoDB.
NAME.manifest.json    The same manifest, to read without the zip.
NAME.secrets.pem      Controller token and passwords of the embedded MongoDB,
                      encrypted. Only a controller has it.
NAME.sha256           SHA-256 of the files above. It is written last: without
                      it the backup is not complete. Do not use it then.
NAME.verify_TIME.json Result of a verification: "good" or "bad". "good" means
                      that every byte, every file and every document was read
                      back. TIME is when that began.
BackupLog_*.log       What happened during a backup.
*.partial, *.bad      Not a backup: unfinished, or found to be bad.


2. CHECK A BACKUP

Before you use a backup or a copy of it, compare its SHA-256 with the lines of
NAME.sha256.

  Windows, Command Prompt:   certutil -hashfile NAME.zip SHA256
  Windows, PowerShell:       Get-FileHash NAME.zip
  Linux, in this folder:     sha256sum -c NAME.sha256

With the collection: verify_backup.yml reads whole backups back.


3. UNZIP

Any tool can open the zip: Windows Explorer, 7-Zip, unzip. Use a short folder
without blanks and commas in its path, such as C:\\restore: emongorestore takes
two paths that are separated by a comma. The unzipped dump needs more room than
the zip.


4. OPEN THE SECRETS

You need the private key of one of the recipient certificates. It is not on
this server and not in the backup. The person who set up the backups has it.

  openssl cms -decrypt -inform PEM -in NAME.secrets.pem \\
      -inkey recipient.key -recip recipient.pem

  Windows PowerShell, with the key in the certificate store of your account:
  Unprotect-CmsMessage -Path NAME.secrets.pem

The result is JSON: controller_token, and mongodb_passwords with the passwords
of two users of the embedded MongoDB. The user name that belongs to "non_admin"
is EmbeddedMongoDBUserName in RuntimeSettings.xml, by default "user".
emongorestore does not ask for these passwords.


5. RESTORE

With the collection: restore.yml restores the embedded MongoDB and the files on
the same server, and keeps the old ones until you accept the result. See
docs/recovering.md at the address below; it also has the commands for the steps
here.

By hand: this order follows the documentation of Alteryx and public scripts. It
has not been tried on a real Alteryx Server. Alteryx supports the recovery of a
single node with the embedded MongoDB. For anything else, ask Alteryx support
first.

 1. Check the backup (section 2) and unzip it (section 3). You need room for
    two copies of the data folder of MongoDB.
 2. Compare versions: Alteryx Server must have the version in the manifest
    (alteryx_version). A newer one changes an old database when it starts. On a
    new server, install that version with its licence and set it up first.
 3. If C:\\ProgramData\\AlteryxOps\\restore.json exists, a restore of the
    collection has not ended: follow docs/recovering.md first. If the folder
    AlteryxOps exists, create an empty file HOLD in it, so that no task starts
    the service meanwhile.
    Stop AlteryxService: UI nodes first, then workers, the controller last.
    Wait until no mongod.exe of the installation and no AlteryxEngineCmd.exe
    runs.
 4. Keep what is there: it is your way back. Rename what you are going to
    replace, for example by adding .before_hand to the name: the files under
    "configuration" in the manifest, the folder Keys as a whole, and the data
    folder of the embedded MongoDB (data_folder under "database" in the
    manifest, or EmbeddedMongoDBRootPath in RuntimeSettings.xml). Do not restore
    over a data folder, and do not copy into an old folder Keys: keys that are
    not in the backup would stay there.
 5. Put the configuration back before the database: emongorestore works with the
    settings and keys that it finds. The manifest says under "configuration"
    where each file was. Give Keys the permissions of Keys.sddl. On a new
    server, the identifiers of accounts (S-1-5-21-...) in it are those of the
    old one.
      Same server: put RuntimeSettings.xml back as it is.
      New server: keep its own RuntimeSettings.xml, and take over the settings
      one by one. Keep its paths, its host names, and its values that end in
      "Encrypted", but take over StorageKeysEncrypted. Look at BaseAddress,
      SslEnabled, ServiceProviderEntityID and ServerName. Do not change
      AuthenticationType.
 6. If the controller token has changed, or the server is new: on the
    controller, remove the element ServerSecretEncrypted from the section
    Controller of RuntimeSettings.xml, and run
      AlteryxService.exe setserversecret="TOKEN"
    with the controller_token of section 4. Process lists show command lines.
 7. Restore the database.
    Embedded MongoDB: create the data folder empty, with the permissions of the
    old one. In an elevated prompt in the folder bin of Alteryx, run
      AlteryxService.exe emongorestore=C:\\restore\\database,DATA_FOLDER
    A DATA_FOLDER with a blank or a comma in its path does not work: restore
    into a folder beside it, and rename that one.
    Do not trust the exit code. Read the output and mongoRestore.log: the end
    must say that 0 documents failed, and no other line may report an error.
    The numbers of restored documents must be those under "collections" in the
    manifest, and the data folder must have a file WiredTiger.
    Self-managed MongoDB: use mongorestore with --stopOnError, only for the
    databases of Alteryx (--nsInclude), never for the database admin, because
    that replaces users. A dump with oplog.bson needs --oplogReplay, which
    cannot be combined with --nsInclude: delete the folders admin and config
    from the unzipped dump instead. Read the output as above.
    If the restore fails, give the old files and the old data folder their names
    again.
 8. Delete HOLD and start the controller. When its web page answers, put the
    files of the workers back (steps 4 and 5) and start them, then the UI nodes.
    If the token or the host of the controller has changed, they first need the
    new address in ServerName, and
      AlteryxService.exe setremotesecret="TOKEN"
 9. Enter what a backup cannot hold (section 6), and install drivers and
    connectors. configuration\\node.json lists them.
10. Check: every service runs, alteryx-migration*.csv has no FATAL, the numbers
    of users, schedules and workflows are right, and a workflow runs on each
    worker. Only then delete what you renamed in step 4.


6. WHAT IS NOT IN A BACKUP

- The encryption key of the machine. If the old server was not prepared for
  disaster recovery while it still ran (Alteryx: "Encryption Key Transfer"), a
  new server cannot read DCM connections and Server data connections.
- The installer and the licence of Alteryx Server.
- Passwords of the service account, the Run As account and SMTP.
- Drivers, connectors, and the passwords of data sources. node.json has names.
- Private keys of TLS certificates, and members of groups.
- Users and passwords of a self-managed MongoDB, and SQL Server databases.
- Files that workflows read and write, and aliases of single users.

Documentation: https://github.com/alteryx-ops/server_backup/tree/main/docs
This file is written once and replaced when its text changes.
"""

TEXT = _LINES.replace("\n", "\r\n")
"""ASCII, with the line ends of Windows."""
