// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Files and folders as Windows has them: open elsewhere, read-only, denied, links, volumes mounted in folders, paths of
// more than 260 characters. .NET Framework handles only some of these cases. A link to a folder is followed only if it
// is the requested folder itself, so that a walk cannot run in a circle.

using System;
using System.Collections;
using System.Collections.Generic;
using System.ComponentModel;
using System.Diagnostics;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using Microsoft.Win32.SafeHandles;

namespace AlteryxOps
{
    /// <summary>A file or folder below another folder. Path: relative to that folder. Bytes: the size of a
    /// file.</summary>
    public sealed class DiskEntry
    {
        public string Path;
        public bool IsFolder;
        public long Bytes;
    }

    /// <summary>The content of a folder. Skipped: a sentence for each folder that is denied and for each
    /// link.</summary>
    public sealed class DiskListing
    {
        public List<DiskEntry> Entries = new List<DiskEntry>();
        public List<string> Skipped = new List<string>();
    }

    /// <summary>The size of a folder. Skipped: the first few items that were left out. SkippedCount: the number of all
    /// of them.</summary>
    public sealed class DiskSize
    {
        public long Bytes;
        public List<string> Skipped = new List<string>();
        public long SkippedCount;
    }

    public static class NodeDisk
    {
        private const int Named = 5;
        private const int CopyAttempts = 5;
        private const int PauseMilliseconds = 200;
        private const int RemoveMilliseconds = 3000;

        private const int NotFound = 2;
        private const int PathNotFound = 3;
        private const int AccessDenied = 5;
        private const int NoMoreFiles = 18;
        private const int SharingViolation = 32;
        private const int LockViolation = 33;
        private const int FolderNotEmpty = 145;

        private const uint GenericRead = 0x80000000;
        private const uint GenericWrite = 0x40000000;
        private const uint ShareAll = 7;  // read, write and delete
        private const uint CreateAlways = 2;
        private const uint OpenExisting = 3;
        // With the privilege SeBackupPrivilege this flag lets Windows read what the access list denies.
        private const uint BackupSemantics = 0x02000000;
        private const uint SequentialScan = 0x08000000;
        private static readonly IntPtr InvalidHandle = new IntPtr(-1);

        /// <summary>Renames a file on its drive. The new name is on the disk when this returns. An existing file is
        /// never replaced.</summary>
        public static void MoveThrough(string path, string target)
        {
            const uint writeThrough = 8;
            if (!MoveFileExW(path, target, writeThrough)) { throw new Win32Exception(Marshal.GetLastWin32Error()); }
        }

        /// <summary>Enables the privilege to back up files in this process. False if the account does not have it.
        /// </summary>
        public static bool EnableBackupPrivilege()
        {
            const int adjustAndQuery = 0x28;
            IntPtr token;
            if (!OpenProcessToken(GetCurrentProcess(), adjustAndQuery, out token)) { return false; }
            try
            {
                TokenPrivilege wanted = new TokenPrivilege();
                wanted.Count = 1;
                wanted.Attributes = 2;  // SE_PRIVILEGE_ENABLED
                if (!LookupPrivilegeValueW(null, "SeBackupPrivilege", out wanted.Luid)) { return false; }
                // The call succeeds with error 1300 if the account does not have the privilege.
                return AdjustTokenPrivileges(token, false, ref wanted, 0, IntPtr.Zero, IntPtr.Zero) &&
                    Marshal.GetLastWin32Error() == 0;
            }
            finally { CloseHandle(token); }
        }

        /// <summary>What a path is: file, folder or absent. Throws file_unreadable if Windows does not report it.
        /// </summary>
        public static string Kind(string path)
        {
            FindData found;
            // Not GetFileAttributes: it returns "absent" for a file in a folder that is denied.
            IntPtr search = FindFirstFileW(Long(path), out found);
            if (search == InvalidHandle)
            {
                int error = Marshal.GetLastWin32Error();
                if (error == NotFound || error == PathNotFound) { return "absent"; }
                throw Fail("file_unreadable", path + " cannot be looked at: " + Said(error));
            }
            FindClose(search);
            return found.File.IsFolder ? "folder" : "file";
        }

        /// <summary>Everything below a folder, sorted by path. Skipped names the folders that cannot be
        /// listed.</summary>
        public static DiskListing List(string folder)
        {
            DiskListing listing = new DiskListing();
            string root = Long(folder);
            Walk(
                root,
                delegate(string path, FileData found)
                {
                    DiskEntry entry = new DiskEntry();
                    entry.Path = path;
                    entry.IsFolder = found.IsFolder;
                    entry.Bytes = found.IsFolder ? 0 : SizeOf(root, path, found);
                    listing.Entries.Add(entry);
                },
                listing.Skipped.Add);
            listing.Entries.Sort(delegate(DiskEntry one, DiskEntry two)
            {
                return string.CompareOrdinal(one.Path, two.Path);
            });
            return listing;
        }

        /// <summary>The sum of the sizes of all files below a folder; 0 if it does not exist. Files that are deleted
        /// meanwhile are left out.</summary>
        public static DiskSize Measure(string folder)
        {
            DiskSize size = new DiskSize();
            string root = Long(folder);
            bool isDrive = root.TrimEnd('\\').EndsWith(":", StringComparison.Ordinal);
            Walk(
                root,
                delegate(string path, FileData found)
                {
                    if (!found.IsFolder) { size.Bytes += SizeOf(root, path, found); }
                },
                delegate(string skipped)
                {
                    // Every drive has these two folders, and they belong to Windows.
                    if (isDrive && (skipped.Contains(":\\System Volume Information ") ||
                        skipped.Contains(":\\$RECYCLE.BIN\\"))) { return; }
                    size.SkippedCount++;
                    if (size.Skipped.Count < Named) { size.Skipped.Add(skipped); }
                });
            return size;
        }

        /// <summary>Bytes that this account can still write to the volume of a folder or, if the folder does not exist,
        /// of its nearest parent. A volume may be mounted in a folder. -1 if Windows does not report it.</summary>
        public static long FreeBytes(string folder)
        {
            long free, total, all;
            for (string part = folder; !string.IsNullOrEmpty(part); part = Path.GetDirectoryName(part))
            {
                if (GetDiskFreeSpaceExW(part.TrimEnd('\\') + "\\", out free, out total, out all)) { return free; }
                int error = Marshal.GetLastWin32Error();
                if (error != NotFound && error != PathNotFound) { break; }
            }
            // The folder may not be listed, but Windows may report the space of its volume.
            return GetDiskFreeSpaceExW(Volume(folder), out free, out total, out all) ? free : -1;
        }

        /// <summary>Where the volume of a folder is mounted: C:\ or a folder, with a backslash at its end.</summary>
        public static string Volume(string folder)
        {
            StringBuilder volume = new StringBuilder(32768);
            if (GetVolumePathNameW(folder, volume, volume.Capacity)) { return volume.ToString(); }
            return Path.GetPathRoot(folder);
        }

        /// <summary>Copies a file that others may be writing to, so that the copy is one state of it. The folder of the
        /// copy is created. Without a target, the file is only opened. While another program locks the file, this tries
        /// again for the given number of seconds. Throws file_locked, file_unreadable, file_vanished or file_changed;
        /// then there is no copy. The copy has the time of the file but not its attributes, because a read-only copy
        /// could not be removed. Returns its size.</summary>
        public static long Copy(string source, string target, double seconds)
        {
            Stopwatch watch = Stopwatch.StartNew();
            int changes = 0;
            while (true)
            {
                long bytes;
                int error = CopyOnce(source, target, out bytes);
                if (error == 0) { return bytes; }
                if (error == Changed)
                {
                    changes++;
                    if (changes >= CopyAttempts)
                    {
                        throw Fail("file_changed", source + " kept changing while it was copied");
                    }
                }
                else { WaitForFile(source, error, watch, seconds); }
                Thread.Sleep(PauseMilliseconds);
            }
        }

        /// <summary>Opens a file for reading that others may be writing to, as Copy does.</summary>
        public static FileStream Open(string path, double seconds)
        {
            Stopwatch watch = Stopwatch.StartNew();
            bool isPrivileged = false;
            while (true)
            {
                SafeFileHandle handle = OpenSource(path);
                if (!handle.IsInvalid) { return new FileStream(handle, FileAccess.Read, 65536); }
                int error = Marshal.GetLastWin32Error();
                if (error == AccessDenied && !isPrivileged)
                {
                    isPrivileged = true;
                    if (EnableBackupPrivilege()) { continue; }
                }
                WaitForFile(path, error, watch, seconds);
                Thread.Sleep(PauseMilliseconds);
            }
        }

        /// <summary>Removes a folder with everything in it; an absent one is fine. Attributes do not protect a file,
        /// links are removed and not followed. If something cannot be removed, the rest is removed nevertheless. Then
        /// this throws and names the first obstacle.</summary>
        public static void Remove(string folder)
        {
            string root = Long(folder);
            uint attributes = GetFileAttributesW(root);
            if (attributes == uint.MaxValue) { return; }
            if (((FileAttributes)attributes & FileAttributes.ReparsePoint) != 0)
            {
                throw new IOException(folder + " is a link to somewhere else, so nothing in it is removed");
            }
            string problem = null;
            Stopwatch watch = Stopwatch.StartNew();
            List<KeyValuePair<string, FileData>> found = new List<KeyValuePair<string, FileData>>();
            List<string> denied = new List<string>();
            Walk(
                root,
                delegate(string path, FileData each)
                {
                    found.Add(new KeyValuePair<string, FileData>(root + "\\" + path, each));
                },
                denied.Add,
                true);
            FileData own = new FileData();
            own.Attributes = attributes;
            found.Insert(0, new KeyValuePair<string, FileData>(root, own));
            // The list has each folder before its content.
            for (int index = found.Count - 1; index >= 0; index--)
            {
                string path = found[index].Key;
                int error = RemoveOne(path, found[index].Value, watch);
                if (error != 0 && problem == null) { problem = Shown(path) + " cannot be removed: " + Said(error); }
            }
            if (problem != null) { throw new IOException(denied.Count > 0 ? denied[0] : problem); }
        }

        private const int Changed = -1;

        private delegate void OnFound(string path, FileData found);

        private delegate void OnSkipped(string what);

        private static void Walk(string root, OnFound found, OnSkipped skipped)
        {
            Walk(root, found, skipped, false);
        }

        // Lists each folder before its content. Links to folders are listed only if requested.
        private static void Walk(string root, OnFound onFound, OnSkipped onSkipped, bool withLinks)
        {
            Stack<string> folders = new Stack<string>();
            folders.Push(string.Empty);
            while (folders.Count > 0)
            {
                string folder = folders.Pop();
                string path = folder.Length == 0 ? root.TrimEnd('\\') : root.TrimEnd('\\') + "\\" + folder;
                FindData found;
                IntPtr search = FindFirstFileW(path + "\\*", out found);
                int error = search == InvalidHandle ? Marshal.GetLastWin32Error() : 0;
                if (search != InvalidHandle)
                {
                    try
                    {
                        do
                        {
                            if (found.Name == "." || found.Name == "..") { continue; }
                            string name = folder.Length == 0 ? found.Name : folder + "\\" + found.Name;
                            if (found.File.IsFolder && found.File.IsLink && !withLinks)
                            {
                                string link = Shown(path) + "\\" + found.Name;
                                onSkipped(link + " is a link to another folder or a mounted volume");
                                continue;
                            }
                            onFound(name, found.File);
                            if (found.File.IsFolder && !found.File.IsLink) { folders.Push(name); }
                        }
                        while (FindNextFileW(search, out found));
                        error = Marshal.GetLastWin32Error();
                    }
                    finally { FindClose(search); }
                }
                // The root of an empty drive has no entries, and the folder may be deleted meanwhile.
                if (error != 0 && error != NoMoreFiles && error != NotFound && error != PathNotFound)
                {
                    onSkipped(Shown(path) + " cannot be listed: " + Said(error));
                }
            }
        }

        // A folder stores the size that a file had when it was last closed, and a file of a running database stays
        // open.
        private static long SizeOf(string root, string path, FileData found)
        {
            FileData now;
            if (GetFileAttributesExW(root.TrimEnd('\\') + "\\" + path, 0, out now))
            {
                return now.Size;
            }
            int error = Marshal.GetLastWin32Error();
            return error == NotFound || error == PathNotFound ? 0 : found.Size;
        }

        // Throws if waiting does not help, or has not helped. A file that is being replaced is absent for a moment.
        private static void WaitForFile(string path, int error, Stopwatch watch, double seconds)
        {
            bool isBusy = error == SharingViolation || error == LockViolation;
            bool isGone = error == NotFound || error == PathNotFound;
            if ((isBusy || isGone) && watch.Elapsed.TotalSeconds < seconds) { return; }
            string reason = isBusy ? "file_locked" : isGone ? "file_vanished" : "file_unreadable";
            string what = isBusy ? " is held by another program"
                : isGone ? " was there and is gone" : " cannot be read";
            throw Fail(reason, path + what + ": " + Said(error));
        }

        private static SafeFileHandle OpenSource(string path)
        {
            const uint flags = BackupSemantics | SequentialScan;
            return CreateFileW(Long(path), GenericRead, ShareAll, IntPtr.Zero, OpenExisting, flags, IntPtr.Zero);
        }

        // Returns the error of the source, Changed, or 0. Throws if the target cannot be written.
        private static int CopyOnce(string source, string target, out long bytes)
        {
            int error;
            bytes = 0;
            using (SafeFileHandle handle = OpenSource(source))
            {
                if (handle.IsInvalid) { return Marshal.GetLastWin32Error(); }
                using (FileStream from = new FileStream(handle, FileAccess.Read, 1))
                {
                    bytes = from.Length;
                    if (string.IsNullOrEmpty(target)) { return 0; }
                    error = CopyTo(from, target);
                    bytes = from.Length;
                }
            }
            if (error != 0) { DeleteFileW(Long(target)); }
            return error;
        }

        private static int CopyTo(FileStream from, string target)
        {
            using (FileStream to = Create(target))
            {
                long created, accessed, modified;
                if (!GetFileTime(from.SafeFileHandle, out created, out accessed, out modified))
                {
                    throw new Win32Exception(Marshal.GetLastWin32Error());
                }
                int error = Transfer(from, to);
                if (error == 0) { error = Compare(from, to); }
                if (error == 0 && !SetFileTime(to.SafeFileHandle, IntPtr.Zero, IntPtr.Zero, ref modified))
                {
                    throw new Win32Exception(Marshal.GetLastWin32Error());
                }
                return error;
            }
        }

        // Directory.CreateDirectory of .NET Framework takes no long path. A failure becomes visible when the file is
        // created.
        private static void MakeFolder(string path)
        {
            if (CreateDirectoryW(path, IntPtr.Zero) || Marshal.GetLastWin32Error() != PathNotFound) { return; }
            int end = path.LastIndexOf('\\');
            if (end <= "\\\\?\\".Length) { return; }
            MakeFolder(path.Substring(0, end));
            CreateDirectoryW(path, IntPtr.Zero);
        }

        private static FileStream Create(string target)
        {
            string path = Long(target);
            MakeFolder(path.Substring(0, path.LastIndexOf('\\')));
            SafeFileHandle handle = CreateFileW(
                path, GenericRead | GenericWrite, 0, IntPtr.Zero, CreateAlways, 0x80, IntPtr.Zero);
            if (handle.IsInvalid)
            {
                throw new IOException(target + " cannot be written: " + Said(Marshal.GetLastWin32Error()));
            }
            return new FileStream(handle, FileAccess.ReadWrite, 1);
        }

        private static int Transfer(FileStream from, FileStream to)
        {
            byte[] buffer = new byte[1024 * 1024];
            while (true)
            {
                int got, error = Fill(from, buffer, out got);
                if (error != 0) { return error; }
                if (got == 0) { break; }
                to.Write(buffer, 0, got);
            }
            to.Flush();
            return 0;
        }

        // Reads both from the beginning; another program may have written to the source while it was copied.
        private static int Compare(FileStream from, FileStream to)
        {
            byte[] one = new byte[1024 * 1024], two = new byte[1024 * 1024];
            from.Position = 0;
            to.Position = 0;
            while (true)
            {
                int gotOne, gotTwo, error = Fill(from, one, out gotOne);
                if (error != 0) { return error; }
                error = Fill(to, two, out gotTwo);
                if (error != 0 || gotOne != gotTwo) { return error != 0 ? error : Changed; }
                if (gotOne == 0) { return 0; }
                for (int index = 0; index < gotOne; index++)
                {
                    if (one[index] != two[index]) { return Changed; }
                }
            }
        }

        // As much as there is, up to the whole buffer. Returns the error of Windows, 0 for none.
        private static int Fill(FileStream file, byte[] buffer, out int filled)
        {
            filled = 0;
            try
            {
                for (int got; filled < buffer.Length; filled += got)
                {
                    got = file.Read(buffer, filled, buffer.Length - filled);
                    if (got == 0) { break; }
                }
                return 0;
            }
            // A part of the file is locked, the disk is damaged, or the share does not answer.
            catch (IOException error) { return Marshal.GetHRForException(error) & 0xffff; }
            catch (UnauthorizedAccessException) { return AccessDenied; }
        }

        private static int RemoveOne(string path, FileData found, Stopwatch watch)
        {
            while (true)
            {
                // The target of a link must not be changed.
                if (!found.IsLink && (found.Attributes & (uint)FileAttributes.ReadOnly) != 0)
                {
                    SetFileAttributesW(path, (uint)(found.IsFolder ? FileAttributes.Directory : FileAttributes.Normal));
                }
                if (found.IsFolder ? RemoveDirectoryW(path) : DeleteFileW(path)) { return 0; }
                int error = Marshal.GetLastWin32Error();
                if (error == NotFound || error == PathNotFound) { return 0; }
                // A virus scanner may have the file open. Until it closes the file, a deleted file stays in its folder.
                bool mayPass = error == SharingViolation || error == FolderNotEmpty;
                if (!mayPass || watch.ElapsedMilliseconds > RemoveMilliseconds) { return error; }
                Thread.Sleep(PauseMilliseconds);
            }
        }

        private static string Long(string path)
        {
            if (path.StartsWith("\\\\?\\", StringComparison.Ordinal)) { return path; }
            string full = path.Length < 248 ? Path.GetFullPath(path) : path.Replace('/', '\\');
            if (full.Length > 3) { full = full.TrimEnd('\\'); }
            bool isShare = full.StartsWith("\\\\", StringComparison.Ordinal);
            return isShare ? "\\\\?\\UNC\\" + full.Substring(2) : "\\\\?\\" + full;
        }

        private static string Shown(string path)
        {
            bool isShare = path.StartsWith("\\\\?\\UNC\\", StringComparison.Ordinal);
            return isShare ? "\\\\" + path.Substring(8) : path.Substring(4);
        }

        private static string Said(int error)
        {
            return new Win32Exception(error).Message.TrimEnd('.', ' ');
        }

        // The form that Get-NodeFailure reads.
        private static Exception Fail(string reason, string message)
        {
            Exception failure = new InvalidOperationException(message);
            failure.Data["reason"] = reason;
            failure.Data["detail"] = new Hashtable();
            return failure;
        }

        // Windows fills these fields. Ansible treats the compiler's warning that no code assigns them (CS0649) as an
        // error.
#pragma warning disable 0649
        // WIN32_FILE_ATTRIBUTE_DATA
        [StructLayout(LayoutKind.Sequential)]
        private struct FileData
        {
            public uint Attributes;
            public uint CreatedLow;
            public uint CreatedHigh;
            public uint AccessedLow;
            public uint AccessedHigh;
            public uint ModifiedLow;
            public uint ModifiedHigh;
            public uint SizeHigh;
            public uint SizeLow;

            public bool IsFolder
            {
                get { return (Attributes & (uint)FileAttributes.Directory) != 0; }
            }

            public bool IsLink
            {
                get { return (Attributes & (uint)FileAttributes.ReparsePoint) != 0; }
            }

            public long Size
            {
                get { return ((long)SizeHigh << 32) | SizeLow; }
            }
        }

        // WIN32_FIND_DATAW, which begins with the same fields.
        [StructLayout(LayoutKind.Sequential, CharSet = CharSet.Unicode)]
        private struct FindData
        {
            public FileData File;
            public uint Reserved0;
            public uint Reserved1;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 260)] public string Name;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 14)] public string ShortName;
        }

        [StructLayout(LayoutKind.Sequential, Pack = 4)]
        private struct TokenPrivilege
        {
            public int Count;
            public long Luid;
            public int Attributes;
        }
#pragma warning restore 0649

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern SafeFileHandle CreateFileW(
            string path, uint access, uint share, IntPtr security, uint disposition, uint flags, IntPtr template);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern uint GetFileAttributesW(string path);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool GetFileAttributesExW(string path, int level, out FileData data);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool SetFileAttributesW(string path, uint attributes);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool GetFileTime(
            SafeFileHandle file, out long created, out long accessed, out long modified);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool SetFileTime(SafeFileHandle file, IntPtr created, IntPtr accessed, ref long modified);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool DeleteFileW(string path);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool MoveFileExW(string path, string target, uint flags);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool CreateDirectoryW(string path, IntPtr security);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool RemoveDirectoryW(string path);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern IntPtr FindFirstFileW(string pattern, out FindData data);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool FindNextFileW(IntPtr search, out FindData data);

        [DllImport("kernel32.dll")]
        private static extern bool FindClose(IntPtr search);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool GetDiskFreeSpaceExW(string folder, out long free, out long total, out long all);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool GetVolumePathNameW(string path, StringBuilder volume, int length);

        [DllImport("kernel32.dll")]
        private static extern IntPtr GetCurrentProcess();

        [DllImport("kernel32.dll")]
        private static extern bool CloseHandle(IntPtr handle);

        [DllImport("advapi32.dll", SetLastError = true)]
        private static extern bool OpenProcessToken(IntPtr process, int access, out IntPtr token);

        [DllImport("advapi32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool LookupPrivilegeValueW(string machine, string name, out long luid);

        [DllImport("advapi32.dll", SetLastError = true)]
        private static extern bool AdjustTokenPrivileges(
            IntPtr token, bool disableAll, ref TokenPrivilege wanted, int length, IntPtr before, IntPtr needed);
    }
}
