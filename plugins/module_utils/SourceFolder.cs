// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The files below a folder: listed once, then read in that order, with paths of any length. If a file has changed since
// it was listed, the failure names it. The list is in a temporary file, so that a million files take no memory.

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
    public sealed class SourceFolder : IDisposable
    {
        private static readonly Encoding Names = new UnicodeEncoding(false, false, true);

        private readonly string root;
        private readonly FileStream list;
        private readonly BinaryReader reader;

        /// <summary>Lists the folder into a temporary file of the given name, which is gone again after Dispose or the
        /// end of the process.</summary>
        public SourceFolder(string folder, string spool)
        {
            root = LongPath.Of(folder);
            if (!LongPath.IsFolder(root)) { throw SourceFailure.Make("folder_invalid", folder + " is no folder"); }
            list = new FileStream(
                spool, FileMode.Create, FileAccess.ReadWrite, FileShare.None, 65536, FileOptions.DeleteOnClose);
            BinaryWriter writer = new BinaryWriter(list, Names);
            Stack<string> folders = new Stack<string>();
            folders.Push("");
            while (folders.Count > 0) { List(folders.Pop(), folders, writer); }
            writer.Flush();
            list.Position = 0;
            reader = new BinaryReader(list, Names);
        }

        /// <summary>How many files were listed, and the sum of their sizes.</summary>
        public long Files { get; private set; }
        public long Bytes { get; private set; }

        /// <summary>The file that Next has come to: path relative to the folder, with /.</summary>
        public string Path { get; private set; }
        private long size;

        public bool Next()
        {
            if (list.Position == list.Length) { return false; }
            Path = reader.ReadString();
            size = reader.ReadInt64();
            return true;
        }

        /// <summary>Opens the file that Next has come to. Tolerant: a small file may have changed since it was listed,
        /// and may change while it is read.</summary>
        public SourceFile Open(bool tolerant)
        {
            return new SourceFile(root + "\\" + Path.Replace('/', '\\'), size, tolerant);
        }

        public void Dispose()
        {
            list.Dispose();
        }

        private void List(string folder, Stack<string> folders, BinaryWriter writer)
        {
            string path = folder.Length == 0 ? root : root + "\\" + folder.Replace('/', '\\');
            LongPath.Found found;
            IntPtr search = LongPath.FindFirst(path + "\\*", out found);
            try
            {
                do
                {
                    if (found.Name == "." || found.Name == "..") { continue; }
                    string name = folder.Length == 0 ? found.Name : folder + "/" + found.Name;
                    if ((found.Attributes & FileAttributes.Directory) == 0)
                    {
                        try { writer.Write(name); }
                        catch (EncoderFallbackException)
                        {
                            throw SourceFailure.Make(
                                "file_unreadable", path + "\\" + found.Name + " has a name that is no Unicode text");
                        }
                        writer.Write(found.Size);
                        Files++;
                        Bytes += found.Size;
                    }
                    // A link could lead to any folder if it was followed, and would be missing from the backup without
                    // notice if it was left out.
                    else if ((found.Attributes & FileAttributes.ReparsePoint) != 0)
                    {
                        throw SourceFailure.Make("folder_invalid", path + "\\" + found.Name + " is a link to a folder");
                    }
                    else { folders.Push(name); }
                }
                while (LongPath.FindNext(search, path, out found));
            }
            finally { LongPath.EndFind(search); }
        }
    }

    /// <summary>One file to be read to its end, once. No other program can write to it meanwhile. A share may not
    /// ensure that, so a change is detected.</summary>
    public sealed class SourceFile : Stream
    {
        // Up to this size a tolerant reader holds the whole file in memory, so that it can read it again.
        private const int Small = 16 * 1024 * 1024;
        private const int Attempts = 3;
        private const int PauseMilliseconds = 300;
        // The time for which a virus scanner or a backup agent may prevent the opening of a file.
        private const int BusyMilliseconds = 30000;

        private readonly string path;
        private FileStream file;
        private Stream content;
        private long size;
        private long modified;
        private long count;

        internal SourceFile(string path, long listed, bool tolerant)
        {
            this.path = path;
            Stopwatch watch = Stopwatch.StartNew();
            for (int attempt = 1; ; )
            {
                bool last = attempt == Attempts;
                file = LongPath.OpenRead(path, watch.ElapsedMilliseconds > BusyMilliseconds);
                if (file != null)
                {
                    attempt++;
                    size = file.Length;
                    modified = LongPath.Modified(file.SafeFileHandle);
                    if (!tolerant || size > Small)
                    {
                        if (size != listed)
                        {
                            throw Fail("file_changed",
                                "changed before it was read: " + listed + " bytes were listed, it has " + size);
                        }
                        content = file;
                        return;
                    }
                    content = ReadWhole();
                    if (content != null) { return; }
                    if (last) { throw Fail("file_changed", "changed while it was read, " + Attempts + " times"); }
                }
                Thread.Sleep(PauseMilliseconds);
            }
        }

        public DateTime ModifiedUtc
        {
            get { return DateTime.FromFileTimeUtc(modified); }
        }

        public override long Length
        {
            get { return size; }
        }

        public override int Read(byte[] buffer, int offset, int wanted)
        {
            int got;
            try { got = content.Read(buffer, offset, wanted); }
            catch (IOException error) { throw Fail("file_unreadable", "cannot be read: " + error.Message); }
            count += got;
            if (count > size || (got == 0 && wanted > 0 && !IsUnchanged()))
            {
                throw Fail("file_changed", "changed while it was read: " + size + " bytes before, " + count + " read");
            }
            return got;
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing && file != null) { file.Dispose(); }
            base.Dispose(disposing);
        }

        private bool IsUnchanged()
        {
            return count == size
                && (content != file || (file.Length == size && LongPath.Modified(file.SafeFileHandle) == modified));
        }

        // The bytes of the file; null if it changed meanwhile.
        private Stream ReadWhole()
        {
            byte[] bytes = new byte[size];
            int filled = 0;
            try
            {
                for (int got; (got = file.Read(bytes, filled, bytes.Length - filled)) > 0; ) { filled += got; }
            }
            catch (IOException error) { throw Fail("file_unreadable", "cannot be read: " + error.Message); }
            bool same = filled == size && file.Length == size && LongPath.Modified(file.SafeFileHandle) == modified;
            file.Dispose();
            return same ? new MemoryStream(bytes, false) : null;
        }

        private Exception Fail(string reason, string what)
        {
            file.Dispose();
            return SourceFailure.Make(reason, LongPath.Shown(path) + " " + what);
        }

        public override bool CanRead { get { return true; } }
        public override bool CanSeek { get { return false; } }
        public override bool CanWrite { get { return false; } }
        public override long Position { get { return count; } set { throw new NotSupportedException(); } }
        public override void Flush() { }
        public override long Seek(long offset, SeekOrigin origin) { throw new NotSupportedException(); }
        public override void SetLength(long value) { throw new NotSupportedException(); }
        public override void Write(byte[] buffer, int offset, int wanted) { throw new NotSupportedException(); }
    }

    internal static class SourceFailure
    {
        // The form that Get-NodeFailure reads.
        internal static Exception Make(string reason, string message)
        {
            Exception failure = new InvalidOperationException(message);
            failure.Data["reason"] = reason;
            failure.Data["detail"] = new Hashtable();
            return failure;
        }
    }

    /// <summary>Files by paths of more than 260 characters. Whether .NET Framework accepts such paths depends on the
    /// host program; the Windows API always does.</summary>
    internal static class LongPath
    {
        private const string Prefix = "\\\\?\\";
        private const int NotFound = 2;
        private const int PathNotFound = 3;
        private const int NoMoreFiles = 18;
        private const int SharingViolation = 32;
        private const int LockViolation = 33;
        private static readonly IntPtr Invalid = new IntPtr(-1);

        internal struct Found
        {
            internal string Name;
            internal FileAttributes Attributes;
            internal long Size;
        }

        internal static string Of(string folder)
        {
            string full = folder.TrimEnd('\\');
            if (full.StartsWith(Prefix, StringComparison.Ordinal)) { return full; }
            return full.StartsWith("\\\\", StringComparison.Ordinal)
                ? Prefix + "UNC\\" + full.Substring(2)
                : Prefix + full;
        }

        internal static string Shown(string path)
        {
            return path.StartsWith(Prefix + "UNC\\", StringComparison.Ordinal)
                ? "\\\\" + path.Substring(8)
                : path.Substring(Prefix.Length);
        }

        internal static bool IsFolder(string path)
        {
            uint attributes = GetFileAttributesW(path);
            return attributes != uint.MaxValue && ((FileAttributes)attributes & FileAttributes.Directory) != 0;
        }

        // Null if another program is writing to the file. At the last attempt that is a failure.
        internal static FileStream OpenRead(string path, bool last)
        {
            SafeFileHandle handle = CreateFileW(path, 0x80000000, 1, IntPtr.Zero, 3, 0x08000000, IntPtr.Zero);
            if (!handle.IsInvalid) { return new FileStream(handle, FileAccess.Read, 1); }
            int error = Marshal.GetLastWin32Error();
            bool busy = error == SharingViolation || error == LockViolation;
            if (busy && !last) { return null; }
            string reason = busy ? "file_changed"
                : error == NotFound || error == PathNotFound ? "file_vanished"
                : "file_unreadable";
            string what = busy ? "is open for writing elsewhere"
                : reason == "file_vanished" ? "was there and is gone"
                : "cannot be opened";
            throw SourceFailure.Make(reason, Shown(path) + " " + what + ": " + new Win32Exception(error).Message);
        }

        internal static long Modified(SafeFileHandle handle)
        {
            long created, accessed, modified;
            if (!GetFileTime(handle, out created, out accessed, out modified))
            {
                throw new Win32Exception(Marshal.GetLastWin32Error());
            }
            return modified;
        }

        internal static IntPtr FindFirst(string pattern, out Found found)
        {
            FindData data;
            IntPtr search = FindFirstFileW(pattern, out data);
            if (search == Invalid)
            {
                int error = Marshal.GetLastWin32Error();
                throw SourceFailure.Make(
                    "file_unreadable", Shown(pattern) + " cannot be listed: " + new Win32Exception(error).Message);
            }
            found = data.ToFound();
            return search;
        }

        internal static bool FindNext(IntPtr search, string folder, out Found found)
        {
            FindData data;
            found = new Found();
            if (FindNextFileW(search, out data))
            {
                found = data.ToFound();
                return true;
            }
            int error = Marshal.GetLastWin32Error();
            if (error == NoMoreFiles) { return false; }
            throw SourceFailure.Make(
                "file_unreadable", Shown(folder) + " cannot be listed: " + new Win32Exception(error).Message);
        }

        internal static void EndFind(IntPtr search)
        {
            FindClose(search);
        }

        [StructLayout(LayoutKind.Sequential, CharSet = CharSet.Unicode)]
        private struct FindData
        {
            internal uint Attributes;
            internal uint CreatedLow;
            internal uint CreatedHigh;
            internal uint AccessedLow;
            internal uint AccessedHigh;
            internal uint ModifiedLow;
            internal uint ModifiedHigh;
            internal uint SizeHigh;
            internal uint SizeLow;
            internal uint Reserved0;
            internal uint Reserved1;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 260)] internal string Name;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 14)] internal string ShortName;

            internal Found ToFound()
            {
                Found found = new Found();
                found.Name = Name;
                found.Attributes = (FileAttributes)Attributes;
                found.Size = ((long)SizeHigh << 32) | SizeLow;
                return found;
            }
        }

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern SafeFileHandle CreateFileW(
            string path, uint access, uint share, IntPtr security, uint disposition, uint flags, IntPtr template);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern uint GetFileAttributesW(string path);

        [DllImport("kernel32.dll", SetLastError = true)]
        [return: MarshalAs(UnmanagedType.Bool)]
        private static extern bool GetFileTime(
            SafeFileHandle file, out long created, out long accessed, out long modified);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern IntPtr FindFirstFileW(string pattern, out FindData data);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        [return: MarshalAs(UnmanagedType.Bool)]
        private static extern bool FindNextFileW(IntPtr search, out FindData data);

        [DllImport("kernel32.dll")]
        [return: MarshalAs(UnmanagedType.Bool)]
        private static extern bool FindClose(IntPtr search);
    }
}
