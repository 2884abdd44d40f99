// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Copies files into a folder that may be on a share. A share can stop answering at any moment, and Windows applies
// other credentials to a single thread. So a separate worker thread does all work at the destination. The calling
// thread waits, reports the progress, and gives up if no byte is copied for some time.

using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Diagnostics;
using System.IO;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Threading;
using Microsoft.Win32.SafeHandles;

namespace AlteryxOps
{
    /// <summary>The result of Windows for a copy. Code: the error number, 0 for none. IsSource: reading the original
    /// has failed, not writing the copy.</summary>
    public sealed class CopyException : IOException
    {
        public readonly int Code;
        public readonly bool IsSource;

        public CopyException(string message, int code, bool isSource) : base(message)
        {
            Code = code;
            IsSource = isSource;
        }
    }

    /// <summary>Sent: bytes written now. Kept: bytes that were there from an earlier attempt. Dropped: bytes that were
    /// there and were sent again. Sha256: of the whole file.</summary>
    public sealed class CopiedFile
    {
        public long Sent;
        public long Kept;
        public long Dropped;
        public string Sha256;
    }

    /// <summary>IsUncached: Windows read from the server and not from its own cache.</summary>
    public sealed class HashedFile
    {
        public long Bytes;
        public bool IsUncached;
        public string Sha256;
    }

    public delegate void OnCopied(long done, long total);

    public sealed class CopyTarget : IDisposable
    {
        private const int FileNotFound = 2;
        private const int PathNotFound = 3;
        private const int AccessDenied = 5;
        private const int SharingViolation = 32;
        private const int NotSupported = 50;
        private const int InvalidParameter = 87;
        private const int DiskFull = 112;
        private const int TimedOut = 1460;
        private const int NotFolder = 267;

        private const uint GenericRead = 0x80000000;
        private const uint GenericWrite = 0x40000000;
        private const uint ShareRead = 1;
        private const uint CreateNew = 1;
        private const uint CreateAlways = 2;
        private const uint OpenExisting = 3;
        private const uint OpenAlways = 4;
        private const uint NormalFile = 0x80;
        private const uint SequentialScan = 0x08000000;
        private const uint NoBuffering = 0x20000000;
        private const uint Folder = 0x10;

        private const int BlockBytes = 1024 * 1024;
        private const int Blocks = 8;
        // The last bytes before a lost connection may not have reached the disk of the server.
        private const long DoubtfulBytes = 4L * BlockBytes;
        private const int RenameMilliseconds = 15000;
        private const int EndMilliseconds = 2000;

        /// <summary>The account for the share. If it is empty, the account of this process is used.</summary>
        public string User = string.Empty;
        public string Domain;
        public string Password = string.Empty;
        /// <summary>After this number of seconds without progress, the destination counts as lost.</summary>
        public double StallSeconds = 600;
        /// <summary>0 for no limit.</summary>
        public double BytesPerSecond;
        /// <summary>Called several times a second by the waiting thread. An exception from it ends the copy.</summary>
        public OnCopied Tick;

        private readonly object gate = new object();
        private Thread worker;
        private Task waiting;
        private volatile bool isOver;
        private long done;
        private long total;
        private long sent;

        /// <summary>Bytes that the last copy wrote, even if it failed.</summary>
        public long Sent
        {
            get { return Interlocked.Read(ref sent); }
        }

        private delegate void Work();

        private sealed class Task
        {
            public Work Work;
            public Exception Error;
            public readonly ManualResetEvent Ended = new ManualResetEvent(false);
        }

        /// <summary>Ends the worker thread. A thread that waits for a share cannot be ended: it ends when the share
        /// answers, or with the process.</summary>
        public void Dispose()
        {
            lock (gate)
            {
                isOver = true;
                Monitor.PulseAll(gate);
            }
            if (worker != null) { worker.Join(EndMilliseconds); }
        }

        /// <summary>Throws unless the folder exists.</summary>
        public void Check(string folder)
        {
            Ask(delegate
            {
                if (IsFolder(folder)) { return; }
                int error = Marshal.GetLastWin32Error();
                throw Fail(folder, "cannot be reached", error != 0 ? error : NotFolder);
            });
        }

        /// <summary>Creates the missing folders of a path. Returns the folders that it created.</summary>
        public string[] MakeFolder(string root, string below)
        {
            List<string> made = new List<string>();
            Ask(delegate
            {
                string path = root.TrimEnd('\\');
                foreach (string part in below.Split('\\'))
                {
                    path += "\\" + part;
                    if (CreateDirectoryW(Long(path), IntPtr.Zero)) { made.Add(path); }
                    else
                    {
                        // Windows denies the creation of a folder to an account without that right, even if the folder
                        // exists.
                        int error = Marshal.GetLastWin32Error();
                        if (!IsFolder(path)) { throw Fail(path, "cannot be made", error); }
                    }
                }
            });
            return made.ToArray();
        }

        /// <summary>Removes the folders that are empty, the last one first, and keeps the others.</summary>
        public void RemoveFolders(string[] folders)
        {
            Ask(delegate
            {
                for (int index = folders.Length - 1; index >= 0; index--) { RemoveDirectoryW(Long(folders[index])); }
            });
        }

        /// <summary>The size of a file; -1 if it does not exist.</summary>
        public long Size(string path)
        {
            long size = -1;
            Ask(delegate
            {
                FileData found;
                if (GetFileAttributesExW(Long(path), 0, out found))
                {
                    size = ((long)found.SizeHigh << 32) | found.SizeLow;
                    return;
                }
                int error = Marshal.GetLastWin32Error();
                if (error != FileNotFound && error != PathNotFound) { throw Fail(path, "cannot be looked at"); }
            });
            return size;
        }

        /// <summary>Bytes that can still be written to a folder; -1 if Windows does not report it.</summary>
        public long FreeBytes(string folder)
        {
            long free = -1;
            Ask(delegate
            {
                long all, others;
                string root = Long(folder).TrimEnd('\\') + "\\";
                if (!GetDiskFreeSpaceExW(root, out free, out all, out others)) { free = -1; }
            });
            return free;
        }

        /// <summary>Writes a new small file completely and flushes it.</summary>
        public void Write(string path, byte[] content)
        {
            Ask(delegate
            {
                using (CopyFile to = new CopyFile(path, true, CreateNew))
                {
                    to.Write(content, content.Length);
                    to.Flush();
                }
            });
        }

        /// <summary>Deletes a file; an absent one is fine.</summary>
        public void Delete(string path)
        {
            Ask(delegate
            {
                if (DeleteFileW(Long(path))) { return; }
                int error = Marshal.GetLastWin32Error();
                if (error != FileNotFound && error != PathNotFound) { throw Fail(path, "cannot be deleted", error); }
            });
        }

        /// <summary>Gives a file its final name; never replaces another file. Tries again for a moment, because a virus
        /// scanner may have the file open.</summary>
        public void Rename(string path, string name)
        {
            Ask(delegate
            {
                Stopwatch watch = Stopwatch.StartNew();
                while (!MoveFileExW(Long(path), Long(name), 0))
                {
                    int error = Marshal.GetLastWin32Error();
                    if (error != SharingViolation || watch.ElapsedMilliseconds > RenameMilliseconds)
                    {
                        throw Fail(path, "cannot be renamed to " + name, error);
                    }
                    Thread.Sleep(200);
                }
            });
        }

        /// <summary>Copies a file under a temporary name, and prevents other programs from opening it meanwhile. A part
        /// that an earlier attempt has sent is read for the hash instead of sent again, except for its end. Without
        /// isTrusted, everything is sent again.</summary>
        public CopiedFile Copy(string source, string partial, bool isTrusted)
        {
            CopiedFile copied = new CopiedFile();
            Interlocked.Exchange(ref sent, 0);
            Ask(delegate
            {
                using (CopyFile from = new CopyFile(source, false, OpenExisting))
                using (CopyFile to = new CopyFile(partial, true, isTrusted ? OpenAlways : CreateAlways))
                using (SHA256CryptoServiceProvider sha = new SHA256CryptoServiceProvider())
                {
                    Interlocked.Exchange(ref total, from.Length);
                    KeepBegin(to, from.Length, sha, copied);
                    from.Seek(copied.Kept);
                    Interlocked.Exchange(ref total, from.Length - copied.Kept);
                    Interlocked.Exchange(ref done, 0);
                    Send(from, to, sha, copied);
                    to.Flush();
                    copied.Sha256 = Text(sha.Hash);
                }
            });
            return copied;
        }

        /// <summary>Reads a file to its end, without the cache of this machine if the file system allows that.
        /// </summary>
        public HashedFile Hash(string path)
        {
            HashedFile hashed = new HashedFile();
            Ask(delegate
            {
                hashed.IsUncached = true;
                if (TryHash(path, hashed)) { return; }
                hashed.IsUncached = false;
                if (!TryHash(path, hashed)) { throw Fail(path, "cannot be read back", InvalidParameter); }
            });
            return hashed;
        }

        private void KeepBegin(CopyFile to, long wanted, SHA256 sha, CopiedFile copied)
        {
            long there = to.Length;
            long kept = there > wanted ? 0 : Math.Max(0, there - DoubtfulBytes) / BlockBytes * BlockBytes;
            copied.Dropped = there - kept;
            if (there > kept) { to.Cut(kept); }
            byte[] block = new byte[BlockBytes];
            to.Seek(0);
            while (copied.Kept < kept)
            {
                int got = to.Read(block, 0);
                if (got == 0) { throw new CopyException("what is there of it has become shorter", 0, false); }
                sha.TransformBlock(block, 0, got, block, 0);
                copied.Kept += got;
                Interlocked.Exchange(ref done, copied.Kept);
                StopIfOver();
            }
        }

        // A second thread reads and hashes while this one writes, so that neither waits for the other. A small file
        // does not need a second thread.
        private void Send(CopyFile from, CopyFile to, SHA256 sha, CopiedFile copied)
        {
            if (from.Length - copied.Kept <= BlockBytes) { SendAtOnce(from, to, sha, copied); }
            else { SendByTwo(from, to, sha, copied); }
            if (copied.Kept + copied.Sent != from.Length)
            {
                throw new CopyException(from.Path + " has changed its size while it was copied", 0, true);
            }
        }

        private void SendAtOnce(CopyFile from, CopyFile to, SHA256 sha, CopiedFile copied)
        {
            Block block = new Block();
            block.Bytes = new byte[BlockBytes];
            int got;
            while ((got = from.Read(block.Bytes, block.Length)) > 0) { block.Length += got; }
            sha.TransformFinalBlock(block.Bytes, 0, block.Length);
            Write(block, to, copied, Stopwatch.StartNew());
        }

        private void SendByTwo(CopyFile from, CopyFile to, SHA256 sha, CopiedFile copied)
        {
            BlockQueue queue = new BlockQueue(Blocks, BlockBytes);
            Exception broken = null, failed = null;
            Thread reader = new Thread(delegate()
            {
                try { Read(from, sha, queue); }
                catch (Exception error) { broken = error; }
                finally { queue.Close(); }
            });
            reader.IsBackground = true;
            reader.Start();
            Stopwatch watch = Stopwatch.StartNew();
            try
            {
                Block block;
                while ((block = queue.Take()) != null)
                {
                    Write(block, to, copied, watch);
                    queue.Return(block);
                }
            }
            catch (Exception error) { failed = error; }
            queue.Close();
            reader.Join();
            if (failed != null || broken != null) { ExceptionDispatchInfo.Capture(failed ?? broken).Throw(); }
        }

        private void Write(Block block, CopyFile to, CopiedFile copied, Stopwatch watch)
        {
            StopIfOver();
            to.Write(block.Bytes, block.Length);
            copied.Sent += block.Length;
            Interlocked.Exchange(ref done, copied.Sent);
            Interlocked.Exchange(ref sent, copied.Sent);
            Slow(copied.Sent, watch);
        }

        private static void Read(CopyFile from, SHA256 sha, BlockQueue queue)
        {
            Block block;
            while ((block = queue.Empty()) != null)
            {
                block.Length = from.Read(block.Bytes, 0);
                if (block.Length == 0)
                {
                    sha.TransformFinalBlock(block.Bytes, 0, 0);
                    return;
                }
                sha.TransformBlock(block.Bytes, 0, block.Length, block.Bytes, 0);
                queue.Put(block);
            }
        }

        private void Slow(long sent, Stopwatch watch)
        {
            while (BytesPerSecond > 0 && sent / BytesPerSecond > watch.Elapsed.TotalSeconds)
            {
                StopIfOver();
                double rest = sent / BytesPerSecond - watch.Elapsed.TotalSeconds;
                Thread.Sleep((int)Math.Max(1, Math.Min(200, rest * 1000)));
            }
        }

        private void StopIfOver()
        {
            if (isOver) { throw new OperationCanceledException("the copy was ended"); }
        }

        // False if Windows cannot read this file without its cache.
        private bool TryHash(string path, HashedFile hashed)
        {
            uint flags = hashed.IsUncached ? NoBuffering : SequentialScan;
            hashed.Bytes = 0;
            using (SafeFileHandle file = CreateFileW(
                Long(path), GenericRead, ShareRead, IntPtr.Zero, OpenExisting, flags, IntPtr.Zero))
            {
                if (file.IsInvalid)
                {
                    int error = Marshal.GetLastWin32Error();
                    if (IsOdd(error) && hashed.IsUncached) { return false; }
                    throw Fail(path, "cannot be read back", error);
                }
                long length;
                if (GetFileSizeEx(file, out length)) { Interlocked.Exchange(ref total, length); }
                // Unbuffered reads need memory aligned to a page, and an array of .NET is not aligned.
                IntPtr memory = VirtualAlloc(IntPtr.Zero, new UIntPtr((uint)BlockBytes), 0x3000, 4);
                if (memory == IntPtr.Zero) { throw Fail(path, "cannot be read back"); }
                try { return HashAll(path, file, memory, hashed); }
                finally { VirtualFree(memory, UIntPtr.Zero, 0x8000); }
            }
        }

        private bool HashAll(string path, SafeFileHandle file, IntPtr memory, HashedFile hashed)
        {
            byte[] block = new byte[BlockBytes];
            using (SHA256CryptoServiceProvider sha = new SHA256CryptoServiceProvider())
            {
                while (true)
                {
                    uint got;
                    StopIfOver();
                    if (!ReadFile(file, memory, (uint)BlockBytes, out got, IntPtr.Zero))
                    {
                        int error = Marshal.GetLastWin32Error();
                        if (error == 38) { break; }  // end of the file
                        if (IsOdd(error) && hashed.IsUncached && hashed.Bytes == 0) { return false; }
                        throw Fail(path, "cannot be read back", error);
                    }
                    if (got == 0) { break; }
                    Marshal.Copy(memory, block, 0, (int)got);
                    sha.TransformBlock(block, 0, (int)got, block, 0);
                    hashed.Bytes += got;
                    Interlocked.Exchange(ref done, hashed.Bytes);
                }
                sha.TransformFinalBlock(block, 0, 0);
                hashed.Sha256 = Text(sha.Hash);
                return true;
            }
        }

        private static bool IsFolder(string path)
        {
            uint attributes = GetFileAttributesW(Long(path));
            return attributes != uint.MaxValue && (attributes & Folder) != 0;
        }

        private static bool IsOdd(int error)
        {
            return error == InvalidParameter || error == NotSupported;
        }

        // Runs an action on the worker thread and waits for it. Rethrows the exception of the action.
        private void Ask(Work work)
        {
            Task task = new Task();
            task.Work = work;
            Interlocked.Exchange(ref done, 0);
            Interlocked.Exchange(ref total, 0);
            lock (gate)
            {
                if (isOver) { throw new ObjectDisposedException("CopyTarget"); }
                waiting = task;
                if (worker == null)
                {
                    worker = new Thread(Serve);
                    worker.IsBackground = true;
                    worker.Start();
                }
                Monitor.PulseAll(gate);
            }
            Await(task);
            if (task.Error != null) { ExceptionDispatchInfo.Capture(task.Error).Throw(); }
        }

        private void Await(Task task)
        {
            long last = 0;
            Stopwatch still = Stopwatch.StartNew();
            try
            {
                while (!task.Ended.WaitOne(200))
                {
                    long now = Interlocked.Read(ref done);
                    if (now != last) { still.Restart(); }
                    last = now;
                    if (Tick != null) { Tick(now, Interlocked.Read(ref total)); }
                    if (still.Elapsed.TotalSeconds > StallSeconds)
                    {
                        string text = "there was no answer for " + (int)StallSeconds + " s";
                        throw new CopyException(text, TimedOut, false);
                    }
                }
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        private void Serve()
        {
            Exception refused = null;
            try { LogOn(); }
            catch (Exception error) { refused = error; }
            while (true)
            {
                Task task;
                lock (gate)
                {
                    while (waiting == null && !isOver) { Monitor.Wait(gate); }
                    if (waiting == null) { return; }
                    task = waiting;
                    waiting = null;
                }
                try
                {
                    if (refused != null) { throw refused; }
                    task.Work();
                }
                catch (Exception error) { task.Error = error; }
                task.Ended.Set();
            }
        }

        private void LogOn()
        {
            int error = ShareAccount.Use(User, Domain, Password);
            if (error == 0) { return; }
            // Do not retry, whatever the error is: another failed log-on might lock the account.
            string text = "the account " + User + " cannot be used: " + Said(error);
            throw new CopyException(text, AccessDenied, false);
        }

        private static CopyException Fail(string path, string problem)
        {
            return Fail(path, problem, Marshal.GetLastWin32Error());
        }

        private static CopyException Fail(string path, string problem, int error)
        {
            return new CopyException(path + " " + problem + ": " + Said(error), error, false);
        }

        private static string Said(int error)
        {
            return new Win32Exception(error).Message.TrimEnd('.', ' ') + " (error " + error + ")";
        }

        private static string Text(byte[] hash)
        {
            return BitConverter.ToString(hash).Replace("-", string.Empty).ToLowerInvariant();
        }

        private static string Long(string path)
        {
            if (path.StartsWith("\\\\?\\", StringComparison.Ordinal)) { return path; }
            bool isShare = path.StartsWith("\\\\", StringComparison.Ordinal);
            return isShare ? "\\\\?\\UNC\\" + path.Substring(2) : "\\\\?\\" + path;
        }

        // A file opened with the Windows API, because every version of .NET then reports the error number of Windows.
        // Other programs may read a source meanwhile, but not a copy.
        private sealed class CopyFile : IDisposable
        {
            public readonly string Path;
            private readonly bool isCopy;
            private readonly SafeFileHandle file;

            public CopyFile(string path, bool isCopy, uint disposition)
            {
                Path = path;
                this.isCopy = isCopy;
                uint access = isCopy ? GenericRead | GenericWrite : GenericRead;
                const uint flags = NormalFile | SequentialScan;
                file = CreateFileW(
                    Long(path), access, isCopy ? 0 : ShareRead, IntPtr.Zero, disposition, flags, IntPtr.Zero);
                Require(!file.IsInvalid, isCopy);
            }

            public long Length
            {
                get
                {
                    long length;
                    Require(GetFileSizeEx(file, out length), false);
                    return length;
                }
            }

            public void Dispose()
            {
                file.Dispose();
            }

            public void Seek(long position)
            {
                long now;
                Require(SetFilePointerEx(file, position, out now, 0), false);
            }

            public void Cut(long length)
            {
                Seek(length);
                Require(SetEndOfFile(file), true);
            }

            // Reads once into an array from an offset. Returns the number of bytes; 0 at the end of the file.
            public int Read(byte[] block, int begin)
            {
                uint got = 0;
                GCHandle pinned = GCHandle.Alloc(block, GCHandleType.Pinned);
                try
                {
                    IntPtr memory = Marshal.UnsafeAddrOfPinnedArrayElement(block, begin);
                    uint wanted = (uint)(block.Length - begin);
                    Require(wanted == 0 || ReadFile(file, memory, wanted, out got, IntPtr.Zero), false);
                }
                finally { pinned.Free(); }
                return (int)got;
            }

            public void Write(byte[] block, int length)
            {
                uint written;
                Require(WriteFile(file, block, (uint)length, out written, IntPtr.Zero), true);
                if (written != length) { throw Fail(Path, "cannot be written", DiskFull); }
            }

            public void Flush()
            {
                Require(FlushFileBuffers(file), true);
            }

            private void Require(bool isDone, bool isWriting)
            {
                if (isDone) { return; }
                int error = Marshal.GetLastWin32Error();
                string problem = isWriting ? " cannot be written: " : " cannot be read: ";
                throw new CopyException(Path + problem + Said(error), error, !isCopy);
            }
        }

        private sealed class Block
        {
            public byte[] Bytes;
            public int Length;
        }

        // Blocks that a reader fills and a writer empties, in turn. After Close, both get null.
        private sealed class BlockQueue
        {
            private readonly Queue<Block> full = new Queue<Block>();
            private readonly Queue<Block> empty = new Queue<Block>();
            private bool isClosed;

            public BlockQueue(int count, int bytes)
            {
                for (int index = 0; index < count; index++)
                {
                    Block block = new Block();
                    block.Bytes = new byte[bytes];
                    empty.Enqueue(block);
                }
            }

            public Block Empty()
            {
                lock (full)
                {
                    while (empty.Count == 0 && !isClosed) { Monitor.Wait(full); }
                    return isClosed ? null : empty.Dequeue();
                }
            }

            public void Put(Block block)
            {
                lock (full)
                {
                    full.Enqueue(block);
                    Monitor.PulseAll(full);
                }
            }

            // Blocks that were read before Close are still returned.
            public Block Take()
            {
                lock (full)
                {
                    while (full.Count == 0 && !isClosed) { Monitor.Wait(full); }
                    return full.Count > 0 ? full.Dequeue() : null;
                }
            }

            public void Return(Block block)
            {
                lock (full)
                {
                    empty.Enqueue(block);
                    Monitor.PulseAll(full);
                }
            }

            public void Close()
            {
                lock (full)
                {
                    isClosed = true;
                    Monitor.PulseAll(full);
                }
            }
        }

#pragma warning disable 0649
        // WIN32_FILE_ATTRIBUTE_DATA
        [StructLayout(LayoutKind.Sequential, Pack = 4)]
        private struct FileData
        {
            public uint Attributes;
            public long Created;
            public long Accessed;
            public long Modified;
            public uint SizeHigh;
            public uint SizeLow;
        }
#pragma warning restore 0649

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern SafeFileHandle CreateFileW(
            string path, uint access, uint share, IntPtr security, uint disposition, uint flags, IntPtr template);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool ReadFile(
            SafeFileHandle file, IntPtr buffer, uint count, out uint got, IntPtr overlapped);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool WriteFile(
            SafeFileHandle file, byte[] buffer, uint count, out uint written, IntPtr overlapped);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool FlushFileBuffers(SafeFileHandle file);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool SetFilePointerEx(SafeFileHandle file, long distance, out long now, uint from);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool SetEndOfFile(SafeFileHandle file);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool GetFileSizeEx(SafeFileHandle file, out long size);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern uint GetFileAttributesW(string path);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool GetFileAttributesExW(string path, int level, out FileData data);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool CreateDirectoryW(string path, IntPtr security);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool RemoveDirectoryW(string path);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool DeleteFileW(string path);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool MoveFileExW(string path, string name, uint flags);

        [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool GetDiskFreeSpaceExW(string folder, out long free, out long total, out long all);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern IntPtr VirtualAlloc(IntPtr address, UIntPtr size, uint kind, uint protection);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool VirtualFree(IntPtr address, UIntPtr size, uint kind);
    }
}
