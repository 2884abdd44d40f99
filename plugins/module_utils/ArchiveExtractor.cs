// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Writes the entries of an archive below a folder, while ArchiveVerifier reads them. The folder is new and belongs to
// SYSTEM and Administrators, so a file that is there already does not come from this archive and is never overwritten.
//
// Error codes: Microsoft Learn, "System Error Codes (0-499)".

using System;
using System.Collections;
using System.ComponentModel;
using System.Globalization;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace AlteryxOps
{
    public sealed class ArchiveExtractor : IArchiveSink, IDisposable
    {
        /// <summary>The folder of all entries but the manifest, which is beside it.</summary>
        public const string FilesFolder = "files";

        private const long SpaceStep = 64 * 1024 * 1024;
        private const int DiskFull = 112;
        private const int HandleDiskFull = 39;
        private const int FileExists = 80;
        private const int AlreadyExists = 183;
        private const uint GenericWrite = 0x40000000;
        private const uint CreateNew = 1;
        private const uint SequentialScan = 0x08000000;

        private readonly string root;
        private readonly long reserve;
        private readonly Func<long> freeBytes;
        private FileStream file;
        private string path;
        private string folder;
        private long unseen;

        /// <param name="root">The folder, as Windows writes its full path, without a backslash at its end.</param>
        /// <param name="reserve">The number of bytes that must stay free on its drive.</param>
        /// <param name="freeBytes">The number of bytes that are free now; -1 if Windows does not report it.</param>
        public ArchiveExtractor(string root, long reserve, Func<long> freeBytes)
        {
            this.root = folder = root;
            this.reserve = reserve;
            this.freeBytes = freeBytes;
        }

        public void Open(long neededBytes)
        {
            long free = freeBytes();
            if (free >= 0 && (free < neededBytes || free - neededBytes < reserve))
            {
                throw Fail("space_short", "the drive of " + root + " has " + free + " bytes free; the files of the "
                    + "archive need " + neededBytes + ", and " + reserve + " are to stay free");
            }
        }

        public void Begin(ZipRecord entry)
        {
            Dispose();
            string name = entry.Name.Replace('/', '\\');
            path = root + "\\" + (entry.Name == ArchiveVerifier.ManifestName ? name : FilesFolder + "\\" + name);
            // Windows must resolve the path to exactly this text. Otherwise it means another folder, a device or
            // another spelling.
            if (!entry.NameIsGood || FullPath(path) != path)
            {
                throw Fail("archive_bad", "its entry " + entry.Name + " would be written outside of " + root);
            }
            MakeFolder(path.Substring(0, path.LastIndexOf('\\')));
            SafeFileHandle handle = CreateFileW(Long(path), GenericWrite, 0, IntPtr.Zero, CreateNew, SequentialScan,
                IntPtr.Zero);
            if (handle.IsInvalid) { throw FailedToWrite(path, Marshal.GetLastWin32Error()); }
            file = new FileStream(handle, FileAccess.Write, 256 * 1024);
        }

        public void Write(byte[] buffer, int offset, int count)
        {
            unseen += count;
            if (unseen >= SpaceStep)
            {
                unseen = 0;
                long free = freeBytes();
                if (free >= 0 && free < reserve)
                {
                    throw Fail("space_short", "the drive of " + root + " has only " + free + " bytes free while the "
                        + "archive is extracted; " + reserve + " are to stay free");
                }
            }
            try { file.Write(buffer, offset, count); }
            catch (IOException error) { throw FailedToWrite(path, Marshal.GetHRForException(error) & 0xffff); }
        }

        public void End(string modified)
        {
            try { file.Flush(true); }
            catch (IOException error) { throw FailedToWrite(path, Marshal.GetHRForException(error) & 0xffff); }
            DateTime time;
            const DateTimeStyles utc = DateTimeStyles.AdjustToUniversal | DateTimeStyles.AssumeUniversal;
            // A FILETIME counts from the year 1601.
            if (DateTime.TryParse(modified, CultureInfo.InvariantCulture, utc, out time) && time.Year > 1601)
            {
                long ticks = time.ToFileTimeUtc();
                if (!SetFileTime(file.SafeFileHandle, IntPtr.Zero, IntPtr.Zero, ref ticks))
                {
                    throw FailedToWrite(path, Marshal.GetLastWin32Error());
                }
            }
            Dispose();
        }

        /// <summary>Closes the file that is being written.</summary>
        public void Dispose()
        {
            FileStream open = file;
            file = null;
            if (open == null) { return; }
            // Closing writes what is still buffered. On a full drive that fails too, and the first failure is already
            // reported.
            try { open.Dispose(); }
            catch (IOException) { open.SafeFileHandle.Dispose(); }
        }

        // Most files are in the same folder as the file before them.
        private void MakeFolder(string wanted)
        {
            if (wanted == folder || wanted.Length <= root.Length) { return; }
            MakeFolder(wanted.Substring(0, wanted.LastIndexOf('\\')));
            if (!CreateDirectoryW(Long(wanted), IntPtr.Zero))
            {
                int error = Marshal.GetLastWin32Error();
                uint attributes = GetFileAttributesW(Long(wanted));
                const FileAttributes kinds = FileAttributes.Directory | FileAttributes.ReparsePoint;
                bool isFolder = error == AlreadyExists && attributes != uint.MaxValue
                    && ((FileAttributes)attributes & kinds) == FileAttributes.Directory;
                if (!isFolder) { throw FailedToWrite(wanted, error); }
            }
            folder = wanted;
        }

        private static string FullPath(string path)
        {
            StringBuilder full = new StringBuilder(path.Length + 64);
            uint length = GetFullPathNameW(path, (uint)full.Capacity, full, IntPtr.Zero);
            return length > 0 && length < full.Capacity ? full.ToString() : "";
        }

        private static string Long(string path)
        {
            return "\\\\?\\" + path;
        }

        private static Exception FailedToWrite(string path, int error)
        {
            if (error == FileExists || error == AlreadyExists)
            {
                return Fail("folder_untrusted", path + " exists already, in a folder that was new; it is not touched");
            }
            string reason = error == DiskFull || error == HandleDiskFull ? "space_short" : "folder_unwritable";
            return Fail(reason, path + " cannot be written: " + new Win32Exception(error).Message.TrimEnd('.', ' '));
        }

        // The form that Get-NodeFailure reads.
        private static Exception Fail(string reason, string message)
        {
            Exception failure = new InvalidOperationException(message);
            failure.Data["reason"] = reason;
            failure.Data["detail"] = new Hashtable();
            return failure;
        }

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern SafeFileHandle CreateFileW(
            string path, uint access, uint share, IntPtr security, uint disposition, uint flags, IntPtr template);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool CreateDirectoryW(string path, IntPtr security);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern uint GetFileAttributesW(string path);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern uint GetFullPathNameW(string path, uint length, StringBuilder full, IntPtr filePart);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool SetFileTime(SafeFileHandle file, IntPtr created, IntPtr accessed, ref long modified);
    }
}
