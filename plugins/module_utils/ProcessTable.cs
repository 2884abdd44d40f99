// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Lists the processes of a node, finds the descendants of a process, and ends processes, without WMI. A process is
// identified by its id and its time of birth, because Windows reuses ids.

using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;

namespace AlteryxOps
{
    /// <summary>One process. Birth: milliseconds since 0001-01-01 UTC, 0 if Windows does not report it. Path: empty if
    /// Windows does not report it.</summary>
    public sealed class ProcessEntry
    {
        public int Id;
        public int ParentId;
        public string Name;
        public long Birth;
        public string Path;
    }

    public static class ProcessTable
    {
        private const int QueryLimited = 0x1000;
        private const int Terminate = 0x1;
        private const int Synchronize = 0x100000;
        private const uint Signaled = 0;
        private const int NoSuchProcess = 87;  // ERROR_INVALID_PARAMETER
        private const int BasicProcessIdList = 3;
        private const int ExtendedLimitInformation = 9;
        private const int KillOnJobClose = 0x2000;
        // FILETIME counts from 1601, DateTime from 0001.
        private const long FileTimeEpoch = 504911232000000000;
        private static readonly IntPtr InvalidHandle = new IntPtr(-1);

        // Stays open until this process ends: Windows ends the members when the last handle is closed.
        private static IntPtr _job = IntPtr.Zero;

        // Windows fills these fields. Ansible treats the compiler's warning that no code assigns them (CS0649) as an
        // error.
#pragma warning disable 0649
        [StructLayout(LayoutKind.Sequential, CharSet = CharSet.Unicode)]
        private struct ProcessEntry32
        {
            public int Size;
            public int Usage;
            public int Id;
            public IntPtr DefaultHeap;
            public int Module;
            public int Threads;
            public int ParentId;
            public int Priority;
            public int Flags;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 260)] public string Name;
        }

        [StructLayout(LayoutKind.Sequential)]
        private struct ServiceStatusProcess
        {
            public int Type;
            public int State;
            public int Controls;
            public int ExitCode;
            public int SpecificExitCode;
            public int CheckPoint;
            public int WaitHint;
            public int ProcessId;
            public int Flags;
        }
#pragma warning restore 0649

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern IntPtr CreateToolhelp32Snapshot(int flags, int processId);

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "Process32FirstW")]
        private static extern bool Process32First(IntPtr snapshot, ref ProcessEntry32 entry);

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "Process32NextW")]
        private static extern bool Process32Next(IntPtr snapshot, ref ProcessEntry32 entry);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern IntPtr OpenProcess(int access, bool inherit, int processId);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool GetProcessTimes(
            IntPtr process, out long created, out long exited, out long kernel, out long user);

        [DllImport(
            "kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "QueryFullProcessImageNameW")]
        private static extern bool QueryFullProcessImageName(
            IntPtr process, int flags, StringBuilder name, ref int size);

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "CreateFileW")]
        private static extern IntPtr CreateFile(
            string path, int access, int share, IntPtr security, int disposition, int flags, IntPtr template);

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode,
            EntryPoint = "GetFinalPathNameByHandleW")]
        private static extern int GetFinalPathNameByHandle(IntPtr handle, StringBuilder path, int size, int flags);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool TerminateProcess(IntPtr process, int exitCode);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern uint WaitForSingleObject(IntPtr handle, int milliseconds);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool CloseHandle(IntPtr handle);

        [DllImport("kernel32.dll")]
        private static extern IntPtr GetCurrentProcess();

        [DllImport("kernel32.dll")]
        private static extern int GetCurrentProcessId();

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "CreateJobObjectW")]
        private static extern IntPtr CreateJobObject(IntPtr security, string name);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool SetInformationJobObject(IntPtr job, int kind, IntPtr information, int size);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool QueryInformationJobObject(
            IntPtr job, int kind, IntPtr information, int size, IntPtr returned);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool AssignProcessToJobObject(IntPtr job, IntPtr process);

        [DllImport("advapi32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "OpenSCManagerW")]
        private static extern IntPtr OpenSCManager(string machine, string database, int access);

        [DllImport("advapi32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "OpenServiceW")]
        private static extern IntPtr OpenService(IntPtr manager, string name, int access);

        [DllImport("advapi32.dll", SetLastError = true)]
        private static extern bool QueryServiceStatusEx(
            IntPtr service, int level, ref ServiceStatusProcess status, int size, out int needed);

        [DllImport("advapi32.dll", SetLastError = true)]
        private static extern bool CloseServiceHandle(IntPtr handle);

        /// <summary>The path of a folder in the form that Windows reports for a process in it: without short names,
        /// links and mounted volumes. Empty if Windows does not report it.</summary>
        public static string RealFolder(string folder)
        {
            // No access rights are requested, and other programs are not blocked. A folder can be opened only with
            // FILE_FLAG_BACKUP_SEMANTICS.
            IntPtr handle = CreateFile(folder, 0, 7, IntPtr.Zero, 3, 0x02000000, IntPtr.Zero);
            if (handle == InvalidHandle)
            {
                return string.Empty;
            }
            try
            {
                StringBuilder path = new StringBuilder(32768);
                int length = GetFinalPathNameByHandle(handle, path, path.Capacity, 0);
                if (length == 0 || length >= path.Capacity)
                {
                    return string.Empty;
                }
                string text = path.ToString();
                if (text.StartsWith("\\\\?\\UNC\\", StringComparison.Ordinal))
                {
                    return "\\\\" + text.Substring(8);
                }
                return text.StartsWith("\\\\?\\", StringComparison.Ordinal) ? text.Substring(4) : text;
            }
            finally
            {
                CloseHandle(handle);
            }
        }

        /// <summary>Every process of the node. A process that this account may not open has a name and no
        /// path.</summary>
        public static ProcessEntry[] Read()
        {
            List<ProcessEntry> found = new List<ProcessEntry>();
            IntPtr snapshot = CreateToolhelp32Snapshot(2, 0);
            // Windows refuses the call for a moment if memory is short or if the list changes meanwhile.
            for (int attempt = 1; snapshot == InvalidHandle; attempt++)
            {
                int problem = Marshal.GetLastWin32Error();
                if (attempt == 20)
                {
                    throw new System.ComponentModel.Win32Exception(problem);
                }
                Thread.Sleep(100);
                snapshot = CreateToolhelp32Snapshot(2, 0);
            }
            try
            {
                ProcessEntry32 row = new ProcessEntry32();
                row.Size = Marshal.SizeOf(typeof(ProcessEntry32));
                for (bool more = Process32First(snapshot, ref row); more; more = Process32Next(snapshot, ref row))
                {
                    found.Add(Describe(row.Id, row.ParentId, row.Name));
                }
            }
            finally
            {
                CloseHandle(snapshot);
            }
            return found.ToArray();
        }

        /// <summary>The time of birth of a running process; 0 if there is no such process, -1 if there may be one that
        /// this account may not open.</summary>
        public static long GetBirth(int id)
        {
            IntPtr process = OpenProcess(QueryLimited | Synchronize, false, id);
            if (process == IntPtr.Zero)
            {
                return Marshal.GetLastWin32Error() == NoSuchProcess ? 0 : -1;
            }
            try
            {
                // A process that has ended can still be opened while another process has a handle to it.
                return WaitForSingleObject(process, 0) == Signaled ? 0 : BirthOf(process);
            }
            finally
            {
                CloseHandle(process);
            }
        }

        /// <summary>A process and all its descendants. The process itself is included if it has this time of birth (0:
        /// any). A child is a process whose parent is in the tree and that did not begin before its parent; it still
        /// has the id of a parent that has ended. A child whose time of birth is not known is included.</summary>
        public static ProcessEntry[] ReadTree(int id, long birth)
        {
            ProcessEntry[] all = Read();
            List<ProcessEntry> tree = new List<ProcessEntry>();
            ProcessEntry own = null;
            foreach (ProcessEntry entry in all)
            {
                if (entry.Id == id && (birth == 0 || entry.Birth == birth))
                {
                    own = entry;
                }
            }
            if (own == null && birth == 0)
            {
                // Windows keeps the id of the parent in every process, also after the parent has ended.
                return tree.ToArray();
            }
            ProcessEntry root = new ProcessEntry();
            root.Id = id;
            root.Birth = own == null ? birth : own.Birth;
            tree.Add(root);
            for (int index = 0; index < tree.Count; index++)
            {
                foreach (ProcessEntry entry in all)
                {
                    bool younger = entry.Birth == 0 || entry.Birth >= tree[index].Birth;
                    if (entry.ParentId == tree[index].Id && entry.Id != id && younger && !tree.Contains(entry))
                    {
                        tree.Add(entry);
                    }
                }
            }
            tree.RemoveAt(0);
            if (own != null)
            {
                tree.Insert(0, own);
            }
            return tree.ToArray();
        }

        /// <summary>Ends one process and waits for its end, up to the given time. True if it has ended. Never throws,
        /// because Windows refuses to end a process that is already ending. Birth distinguishes it from a later process
        /// with the same id (0: any).</summary>
        public static bool Finish(int id, long birth, int milliseconds)
        {
            IntPtr process = OpenProcess(Terminate | Synchronize | QueryLimited, false, id);
            if (process == IntPtr.Zero)
            {
                return GetBirth(id) == 0;
            }
            try
            {
                if (birth != 0 && BirthOf(process) != birth)
                {
                    return true;
                }
                TerminateProcess(process, 1);
                return WaitForSingleObject(process, milliseconds) == Signaled;
            }
            finally
            {
                CloseHandle(process);
            }
        }

        /// <summary>Puts this process into a job object. When this process ends, for whatever reason, Windows ends all
        /// processes that it has started from now on. False, with the error number in problem, if Windows
        /// refuses.</summary>
        public static bool HoldChildren(out int problem)
        {
            problem = 0;
            if (_job != IntPtr.Zero)
            {
                return true;
            }
            // JOBOBJECT_EXTENDED_LIMIT_INFORMATION: 144 bytes in a process of 64 bits, 112 in one
            // of 32; LimitFlags at 16.
            int size = IntPtr.Size == 8 ? 144 : 112;
            IntPtr limits = Marshal.AllocHGlobal(size);
            IntPtr job = CreateJobObject(IntPtr.Zero, null);
            try
            {
                for (int index = 0; index < size; index++)
                {
                    Marshal.WriteByte(limits, index, 0);
                }
                Marshal.WriteInt32(limits, 16, KillOnJobClose);
                if (job == IntPtr.Zero || !SetInformationJobObject(job, ExtendedLimitInformation, limits, size) ||
                    !AssignProcessToJobObject(job, GetCurrentProcess()))
                {
                    problem = Marshal.GetLastWin32Error();
                    if (job != IntPtr.Zero)
                    {
                        CloseHandle(job);
                    }
                    return false;
                }
            }
            finally
            {
                Marshal.FreeHGlobal(limits);
            }
            _job = job;
            return true;
        }

        /// <summary>The other processes in the job object of this process; empty if it has none.</summary>
        public static ProcessEntry[] ReadHeld()
        {
            List<ProcessEntry> held = new List<ProcessEntry>();
            if (_job == IntPtr.Zero)
            {
                return held.ToArray();
            }
            const int room = 1024;
            int size = 8 + (room * IntPtr.Size);
            IntPtr list = Marshal.AllocHGlobal(size);
            try
            {
                // If the buffer is too small for all members, the call fails but still fills the buffer.
                Marshal.WriteInt32(list, 4, 0);
                QueryInformationJobObject(_job, BasicProcessIdList, list, size, IntPtr.Zero);
                int count = Math.Min(room, Marshal.ReadInt32(list, 4));
                for (int index = 0; index < count; index++)
                {
                    int id = (int)Marshal.ReadIntPtr(list, 8 + (index * IntPtr.Size)).ToInt64();
                    if (id != GetCurrentProcessId())
                    {
                        held.Add(Describe(id, 0, string.Empty));
                    }
                }
            }
            finally
            {
                Marshal.FreeHGlobal(list);
            }
            return held.ToArray();
        }

        /// <summary>The process of a Windows service; 0 if the service has no process or does not exist.</summary>
        public static int GetServiceProcess(string name)
        {
            IntPtr manager = OpenSCManager(null, null, 1);
            if (manager == IntPtr.Zero)
            {
                return 0;
            }
            IntPtr service = OpenService(manager, name, 4);
            try
            {
                ServiceStatusProcess status = new ServiceStatusProcess();
                int needed;
                if (service == IntPtr.Zero
                    || !QueryServiceStatusEx(
                        service, 0, ref status, Marshal.SizeOf(typeof(ServiceStatusProcess)), out needed))
                {
                    return 0;
                }
                return status.ProcessId;
            }
            finally
            {
                if (service != IntPtr.Zero)
                {
                    CloseServiceHandle(service);
                }
                CloseServiceHandle(manager);
            }
        }

        private static ProcessEntry Describe(int id, int parentId, string name)
        {
            ProcessEntry entry = new ProcessEntry();
            entry.Id = id;
            entry.ParentId = parentId;
            entry.Name = name;
            entry.Path = string.Empty;
            IntPtr process = OpenProcess(QueryLimited, false, id);
            if (process == IntPtr.Zero)
            {
                return entry;
            }
            try
            {
                entry.Birth = BirthOf(process);
                StringBuilder path = new StringBuilder(32768);
                int size = path.Capacity;
                if (QueryFullProcessImageName(process, 0, path, ref size))
                {
                    entry.Path = path.ToString();
                }
            }
            finally
            {
                CloseHandle(process);
            }
            return entry;
        }

        private static long BirthOf(IntPtr process)
        {
            long created;
            long exited;
            long kernel;
            long user;
            if (!GetProcessTimes(process, out created, out exited, out kernel, out user))
            {
                return 0;
            }
            return (created + FileTimeEpoch) / 10000;
        }
    }

    /// <summary>The output of a program, read on a separate thread. A child of the program that continues to run keeps
    /// the pipe open. Text is the output so far.</summary>
    public sealed class PrintedText
    {
        private readonly TextReader _source;
        private readonly StringBuilder _text = new StringBuilder();
        private readonly Thread _thread;

        public PrintedText(TextReader source)
        {
            _source = source;
            _thread = new Thread(Read);
            _thread.IsBackground = true;
            _thread.Start();
        }

        public string Text
        {
            get
            {
                lock (_text)
                {
                    return _text.ToString();
                }
            }
        }

        /// <summary>Waits for the end of the output, up to the given time; false if it has not ended.</summary>
        public bool Wait(int milliseconds)
        {
            return _thread.Join(milliseconds);
        }

        private void Read()
        {
            char[] block = new char[4096];
            try
            {
                for (int got; (got = _source.Read(block, 0, block.Length)) > 0;)
                {
                    lock (_text)
                    {
                        _text.Append(block, 0, got);
                    }
                }
            }
            // The pipe is broken or was closed. An exception in this thread would end the whole process.
            catch (Exception)
            {
            }
        }
    }
}
