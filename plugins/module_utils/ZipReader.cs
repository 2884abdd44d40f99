// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Checks a zip of this collection, in constant memory and in one pass over its bytes. Values that the format stores
// twice are compared. Other values must be those that ZipWriter writes. Every byte must belong to a part of the format.
// So it refuses many zips that other tools open.

using System;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Threading;

namespace AlteryxOps
{
    /// <summary>All problems, in the order in which they were found. Of very many, only the first are kept.</summary>
    public sealed class ProblemList
    {
        private const int Kept = 100;
        private readonly List<string> texts = new List<string>();

        public long Total { get; private set; }

        public string[] Texts
        {
            get { return texts.ToArray(); }
        }

        public void Add(string text)
        {
            Total++;
            if (texts.Count < Kept) { texts.Add(text); }
        }
    }

    /// <summary>One record of the central directory.</summary>
    public sealed class ZipRecord
    {
        public string Name;
        public long Size;
        public long CompressedSize;
        /// <summary>Where its local header begins.</summary>
        public long Offset;
        /// <summary>Is the name one that ZipWriter writes, and valid and harmless on every system?</summary>
        public bool NameIsGood;
        internal byte[] RawName;
        internal ushort Version, Flags, Method, Time, Date;
        internal uint Crc;

        internal bool HasDescriptor
        {
            get { return (Flags & 8) != 0; }
        }
    }

    /// <summary>
    /// Open, then for each entry Next, read Content as far as wanted, Finish; then Complete. Problems are added to the
    /// list, and reading continues as far as possible.</summary>
    public sealed class ZipReader : IDisposable
    {
        private const int EndSize = 22;
        private const int Zip64EndSize = 56;
        private const int LocatorSize = 20;
        private const int Cluster = 4096;

        private readonly Func<Stream> opener;
        private readonly ProblemList problems;
        private readonly ZipSource source;
        private readonly ZipChecksum checksum = new ZipChecksum(true);
        private readonly byte[] block = new byte[256 * 1024];
        private readonly HashSet<string> suspected = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        private long directory;
        private long directoryEnd;
        private ZipDirectory cursor;
        private ulong[] names = new ulong[0];
        private ZipLimited compressed;
        private ZipContent content;
        private long descriptorSize;

        public long EntryCount { get; private set; }

        /// <summary>The space that all entries need on a drive, in whole clusters, according to the
        /// directory.</summary>
        public long NeededBytes { get; private set; }

        public ZipRecord Last { get; private set; }

        public ZipRecord Current { get; private set; }

        /// <summary>SHA-256 of the current entry after Finish; "" when it could not be read to its end.</summary>
        public string Sha256 { get; private set; }

        /// <summary>Bytes of the archive read so far, and all of them.</summary>
        public long Position
        {
            get { return source.Position; }
        }

        public long Length
        {
            get { return source.Length; }
        }

        public ZipReader(string path, ProblemList problems)
            : this(
                () => new FileStream(
                    path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1,
                    FileOptions.SequentialScan),
                problems)
        {
        }

        /// <param name="opener">Opens the archive once more at each call, because it is read at three positions at the
        /// same time.</param> <param name="problems">The list to which problems are added.</param>
        public ZipReader(Func<Stream> opener, ProblemList problems)
        {
            this.opener = opener;
            this.problems = problems;
            source = new ZipSource(opener());
        }

        public void Dispose()
        {
            source.Dispose();
            checksum.Dispose();
            if (cursor != null) { cursor.Dispose(); }
        }

        /// <summary>Reads the end record and the central directory; false if the entries cannot be found.</summary>
        public bool Open()
        {
            try
            {
                using (Stream stream = opener()) { ReadEnd(stream); }
                ReadDirectory();
            }
            catch (ZipProblem problem)
            {
                problems.Add(problem.Message);
                return false;
            }
            cursor = new ZipDirectory(opener(), directory, directoryEnd);
            return true;
        }

        private void ReadEnd(Stream stream)
        {
            long length = stream.Length;
            if (length < EndSize) { throw new ZipProblem("it has " + length + " bytes and no end record"); }
            byte[] end = At(stream, length - EndSize, EndSize);
            if (Le.U32(end, 0) != 0x06054b50)
            {
                throw new ZipProblem("it does not end with an end record: it is cut, or something follows it");
            }
            if (Le.U16(end, 20) != 0) { problems.Add("the end record names a comment"); }
            if (Le.U16(end, 4) != 0 || Le.U16(end, 6) != 0) { problems.Add("the end record names other disks"); }
            long count = Le.U16(end, 10);
            long size = Le.U32(end, 12);
            directory = Le.U32(end, 16);
            if (Le.U16(end, 8) != count) { problems.Add("the end record has two numbers of entries"); }
            long tail = length - EndSize;
            if (tail >= LocatorSize + Zip64EndSize)
            {
                byte[] locator = At(stream, tail - LocatorSize, LocatorSize);
                if (Le.U32(locator, 0) == 0x07064b50)
                {
                    tail = ReadZip64End(stream, tail - LocatorSize - Zip64EndSize, locator, ref count, ref size);
                }
            }
            if (directory + size != tail)
            {
                throw new ZipProblem("the central directory (" + size + " bytes at " + directory
                    + ") does not end where the end record begins (" + tail + ")");
            }
            directoryEnd = tail;
            EntryCount = count;
        }

        private long ReadZip64End(Stream stream, long at, byte[] locator, ref long count, ref long size)
        {
            if (Le.U32(locator, 4) != 0 || Le.U32(locator, 16) != 1)
            {
                problems.Add("the Zip64 locator names other disks");
            }
            if (Le.I64(locator, 8) != at) { problems.Add("the Zip64 locator does not point to the Zip64 end record"); }
            byte[] end = At(stream, at, Zip64EndSize);
            if (Le.U32(end, 0) != 0x06064b50 || Le.I64(end, 4) != Zip64EndSize - 12)
            {
                throw new ZipProblem("there is no Zip64 end record before its locator");
            }
            if (Le.U16(end, 12) != 45 || Le.U16(end, 14) != 45)
            {
                problems.Add("the Zip64 end record has versions other than 4.5");
            }
            if (Le.U32(end, 16) != 0 || Le.U32(end, 20) != 0)
            {
                problems.Add("the Zip64 end record names other disks");
            }
            if (Le.I64(end, 24) != Le.I64(end, 32)) { problems.Add("the Zip64 end record has two numbers of entries"); }
            // The short fields have the same value, or the value that refers to the long fields.
            bool same = Agrees(count, Le.I64(end, 32), 0xFFFF) && Agrees(size, Le.I64(end, 40), 0xFFFFFFFF)
                && Agrees(directory, Le.I64(end, 48), 0xFFFFFFFF);
            if (!same) { problems.Add("end record and Zip64 end record differ"); }
            count = Le.I64(end, 32);
            size = Le.I64(end, 40);
            directory = Le.I64(end, 48);
            if (count < 0 || size < 0 || directory < 0)
            {
                throw new ZipProblem("the Zip64 end record has negative numbers");
            }
            return at;
        }

        private static bool Agrees(long small, long large, long saturated)
        {
            return small == saturated || small == large;
        }

        private static byte[] At(Stream stream, long offset, int count)
        {
            byte[] bytes = new byte[count];
            stream.Position = offset;
            int have = 0;
            while (have < count)
            {
                int got = stream.Read(bytes, have, count - have);
                if (got == 0) { throw new ZipProblem("it ends at byte " + (offset + have) + ", inside a record"); }
                have += got;
            }
            return bytes;
        }

        /// <summary>Reads the whole directory once, for the checks that need all of it: its structure, all names,
        /// duplicate names, the last entry.</summary>
        private void ReadDirectory()
        {
            // A record has at least 46 bytes, so a number of entries that cannot fit is refused.
            if (EntryCount > (directoryEnd - directory) / 46)
            {
                throw new ZipProblem("the central directory is too short for " + EntryCount + " entries");
            }
            names = new ulong[EntryCount];
            long count = 0;
            using (ZipDirectory all = new ZipDirectory(opener(), directory, directoryEnd))
            {
                while (all.Next(problems))
                {
                    if (count == EntryCount)
                    {
                        throw new ZipProblem(
                            "the central directory has more entries than the " + EntryCount + " of the end record");
                    }
                    names[count++] = ZipName.Hash(all.Entry.Name, all.Entry.Name.Length);
                    Last = all.Entry;
                    // A sum that is too large must not overflow to a negative number.
                    long needed = Math.Min(Last.Size, long.MaxValue / 2) / Cluster * Cluster + Cluster;
                    NeededBytes += Math.Min(needed, long.MaxValue - NeededBytes);
                }
            }
            if (count != EntryCount)
            {
                throw new ZipProblem(
                    "the central directory has " + count + " entries, the end record says " + EntryCount);
            }
            Array.Sort(names);
            HashSet<ulong> twice = new HashSet<ulong>();
            for (long i = 1; i < names.Length; i++)
            {
                if (names[i] == names[i - 1]) { twice.Add(names[i]); }
            }
            if (twice.Count > 0) { NameTwice(twice); }
        }

        private void NameTwice(HashSet<ulong> hashes)
        {
            HashSet<string> seen = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
            using (ZipDirectory all = new ZipDirectory(opener(), directory, directoryEnd))
            {
                while (all.Next(null))
                {
                    string name = all.Entry.Name;
                    if (hashes.Contains(ZipName.Hash(name, name.Length)) && !seen.Add(name))
                    {
                        problems.Add(
                            name + " is in it twice, or differs from another name in upper and lower case only");
                    }
                }
            }
        }

        /// <summary>Opens the content of an entry out of order and without checks. Next reads and checks it
        /// later.</summary>
        public Stream Peek(ZipRecord entry)
        {
            Stream stream = opener();
            byte[] header = At(stream, entry.Offset, 30);
            stream.Position = entry.Offset + 30 + Le.U16(header, 26) + Le.U16(header, 28);
            return entry.Method == 8 ? new DeflateStream(stream, CompressionMode.Decompress) : stream;
        }

        /// <summary>Moves to the next entry; false after the last one.</summary>
        public bool Next()
        {
            content = null;
            while (cursor.Next(null))
            {
                Current = cursor.Entry;
                Sha256 = "";
                SuspectFolders(Current.Name);
                if (Current.Offset < source.Position)
                {
                    problems.Add(Current.Name + " begins at byte " + Current.Offset + ", inside what comes before it");
                    content = null;
                    return true;
                }
                if (Current.Offset > source.Position)
                {
                    problems.Add((Current.Offset - source.Position) + " bytes before " + Current.Name + " (at byte "
                        + source.Position + ") belong to nothing");
                    if (!source.SkipTo(Current.Offset)) { return true; }
                }
                if (LocalHeader())
                {
                    compressed = new ZipLimited(source, Current.CompressedSize);
                    content = new ZipContent(compressed, Current, checksum);
                }
                return true;
            }
            return false;
        }

        /// <summary>The content of the current entry; null if it cannot be found.</summary>
        public Stream Content
        {
            get { return content; }
        }

        /// <summary>Called with every byte of the current entry that was read.</summary>
        public Action<byte[], int, int> Copy
        {
            set { content.Copy = value; }
        }

        private void SuspectFolders(string name)
        {
            for (int at = name.IndexOf('/'); at > 0; at = name.IndexOf('/', at + 1))
            {
                if (Array.BinarySearch(names, ZipName.Hash(name, at)) >= 0 && suspected.Count < 1000)
                {
                    suspected.Add(name.Substring(0, at));
                }
            }
        }

        private bool LocalHeader()
        {
            byte[] header = new byte[30];
            string name = Current.Name;
            if (!source.ReadFull(header, 30) || Le.U32(header, 0) != 0x04034b50)
            {
                problems.Add(name + " has no local header at byte " + Current.Offset);
                return false;
            }
            byte[] localName = new byte[Le.U16(header, 26)];
            byte[] extra = new byte[Le.U16(header, 28)];
            if (!source.ReadFull(localName, localName.Length) || !source.ReadFull(extra, extra.Length))
            {
                problems.Add(name + ": the archive ends inside its local header");
                return false;
            }
            if (!Same(localName, Current.RawName)) { problems.Add(name + " has another name in its local header"); }
            Compare("version", Le.U16(header, 4), Current.Version);
            Compare("flags", Le.U16(header, 6), Current.Flags);
            Compare("method", Le.U16(header, 8), Current.Method);
            Compare("time", Le.U16(header, 10), Current.Time);
            Compare("date", Le.U16(header, 12), Current.Date);
            // Sizes and CRC-32 are here. Or zeros are here, and the values follow the data.
            bool later = Current.HasDescriptor;
            Compare("CRC-32", Le.U32(header, 14), later ? 0 : Current.Crc);
            long compressedSize = Le.U32(header, 18);
            long size = Le.U32(header, 22);
            bool zip64 = extra.Length > 0;
            if (zip64)
            {
                if (extra.Length != 20 || Le.U16(extra, 0) != 1 || Le.U16(extra, 2) != 16)
                {
                    problems.Add(name + " has extra data in its local header that are not of Zip64");
                    zip64 = false;
                }
                else
                {
                    long long64 = Le.I64(extra, 4);
                    long compressed64 = Le.I64(extra, 12);
                    bool zero = long64 == 0 && compressed64 == 0;
                    bool true64 = long64 == Current.Size && compressed64 == Current.CompressedSize;
                    bool used = size == 0xFFFFFFFF && compressedSize == 0xFFFFFFFF;
                    // The fields of the extra data are zeros if they are not used. If they are used, they have the true
                    // values, or zeros if a descriptor follows.
                    if (!(true64 || (zero && (later || !used))))
                    {
                        problems.Add(name + " has other sizes in the Zip64 field of its local header");
                    }
                    if (used) { size = compressedSize = -1; }
                }
            }
            if (size != -1)
            {
                Compare("size", size, later ? 0 : Current.Size);
                Compare("compressed size", compressedSize, later ? 0 : Current.CompressedSize);
            }
            descriptorSize = !later ? 0 : zip64 ? 24 : 16;
            return true;
        }

        private void Compare(string field, long here, long there)
        {
            if (here != there)
            {
                problems.Add(Current.Name + ": the " + field + " in its local header is " + here + " and not " + there);
            }
        }

        /// <summary>Reads the rest of the current entry and checks it; true if its bytes match the records of the
        /// zip.</summary>
        public bool Finish(Action<long> read)
        {
            if (content == null) { return false; }
            string name = Current.Name;
            bool good = false;
            try
            {
                int count;
                while ((count = content.Read(block, 0, block.Length)) > 0)
                {
                    if (read != null) { read(count); }
                }
                good = content.Judge(problems);
                if (good) { Sha256 = content.Sha256; }
            }
            catch (InvalidDataException)
            {
                problems.Add(name + ": its compressed data are damaged near byte " + source.Position);
            }
            catch (ZipProblem problem) { problems.Add(name + ": " + problem.Message); }
            content.Abandon();
            if (!source.SkipTo(compressed.End))
            {
                problems.Add(name + ": the archive ends inside its data");
                return false;
            }
            return Descriptor() && good;
        }

        private bool Descriptor()
        {
            if (descriptorSize == 0) { return true; }
            byte[] bytes = new byte[descriptorSize];
            if (!source.ReadFull(bytes, bytes.Length) || Le.U32(bytes, 0) != 0x08074b50)
            {
                problems.Add(Current.Name + " has no data descriptor behind its data");
                return false;
            }
            bool wide = descriptorSize == 24;
            long compressedSize = wide ? Le.I64(bytes, 8) : Le.U32(bytes, 8);
            long size = wide ? Le.I64(bytes, 16) : Le.U32(bytes, 12);
            if (Le.U32(bytes, 4) == Current.Crc && compressedSize == Current.CompressedSize && size == Current.Size)
            {
                return true;
            }
            problems.Add(Current.Name + ": its data descriptor says other than the central directory");
            return false;
        }

        /// <summary>Reads the rest of the archive and returns the SHA-256 of all of it.</summary>
        public string Complete()
        {
            if (cursor != null && source.Position < directory)
            {
                problems.Add((directory - source.Position) + " bytes before the central directory (at byte "
                    + source.Position + ") belong to nothing");
            }
            if (cursor != null && source.Position > directory)
            {
                problems.Add("the last entry reaches into the central directory");
            }
            if (suspected.Count > 0)
            {
                using (ZipDirectory all = new ZipDirectory(opener(), directory, directoryEnd))
                {
                    while (all.Next(null))
                    {
                        if (suspected.Contains(all.Entry.Name))
                        {
                            problems.Add(all.Entry.Name + " is a file, and a folder of other files");
                        }
                    }
                }
            }
            source.SkipTo(source.Length);
            return source.Sha256();
        }

        private static bool Same(byte[] one, byte[] other)
        {
            if (one.Length != other.Length) { return false; }
            for (int i = 0; i < one.Length; i++)
            {
                if (one[i] != other[i]) { return false; }
            }
            return true;
        }
    }

    internal sealed class ZipProblem : Exception
    {
        public ZipProblem(string message) : base(message)
        {
        }
    }

    /// <summary>Numbers as a zip stores them, the lowest byte first.</summary>
    internal static class Le
    {
        public static ushort U16(byte[] bytes, int at)
        {
            return (ushort)(bytes[at] | bytes[at + 1] << 8);
        }

        public static uint U32(byte[] bytes, int at)
        {
            return (uint)(bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24);
        }

        public static long I64(byte[] bytes, int at)
        {
            return U32(bytes, at) | (long)U32(bytes, at + 4) << 32;
        }
    }

    /// <summary>The records of the central directory, one after another.</summary>
    internal sealed class ZipDirectory : IDisposable
    {
        // As ZipWriter writes them: version 4.5 on Unix, rw-r--r--.
        private const ushort MadeBy = (3 << 8) | 45;
        private const uint PlainFile = 0x81A40000;
        private static readonly UTF8Encoding Utf8 = new UTF8Encoding(false, true);
        private readonly Stream stream;
        private readonly byte[] header = new byte[46];
        private readonly byte[] buffer;
        private int next;
        private int end;
        private long left;

        public ZipRecord Entry { get; private set; }

        public ZipDirectory(Stream stream, long start, long end)
        {
            this.stream = stream;
            stream.Position = start;
            left = end - start;
            buffer = new byte[Math.Max(1, Math.Min(left, 64 * 1024))];
        }

        public void Dispose()
        {
            stream.Dispose();
        }

        /// <summary>Reads a record; false at the end of the directory. Problems are added to the list. The list is null
        /// if the record was checked before.</summary>
        public bool Next(ProblemList problems)
        {
            if (left == 0) { return false; }
            Read(header, 46);
            if (Le.U32(header, 0) != 0x02014b50)
            {
                throw new ZipProblem("the central directory is damaged: there is no record where one should begin");
            }
            ZipRecord entry = new ZipRecord
            {
                Version = Le.U16(header, 6),
                Flags = Le.U16(header, 8),
                Method = Le.U16(header, 10),
                Time = Le.U16(header, 12),
                Date = Le.U16(header, 14),
                Crc = Le.U32(header, 16),
                CompressedSize = Le.U32(header, 20),
                Size = Le.U32(header, 24),
                Offset = Le.U32(header, 42),
                RawName = new byte[Le.U16(header, 28)],
            };
            byte[] extra = new byte[Le.U16(header, 30)];
            byte[] comment = new byte[Le.U16(header, 32)];
            Read(entry.RawName, entry.RawName.Length);
            Read(extra, extra.Length);
            Read(comment, comment.Length);
            string problem = Zip64(entry, extra);
            string nameProblem = SetName(entry);
            if (problems != null)
            {
                if (nameProblem != "") { problems.Add(ZipName.Shown(entry.Name) + ": " + nameProblem); }
                if (problem == "") { problem = Judge(entry, comment.Length); }
                if (problem != "") { problems.Add(ZipName.Shown(entry.Name) + ": " + problem); }
            }
            entry.NameIsGood = nameProblem == "";
            // A bad name may contain control characters of a terminal.
            if (!entry.NameIsGood) { entry.Name = ZipName.Shown(entry.Name); }
            Entry = entry;
            return true;
        }

        private static string SetName(ZipRecord entry)
        {
            try { entry.Name = Utf8.GetString(entry.RawName); }
            catch (ArgumentException)
            {
                entry.Name = BitConverter.ToString(entry.RawName);
                return "its name is no UTF-8";
            }
            if (entry.Name.Length != entry.RawName.Length && (entry.Flags & 0x800) == 0)
            {
                return "its name is not ASCII, and not marked as UTF-8";
            }
            return ZipName.Problem(entry.Name);
        }

        /// <summary>Values that are too large for their field are in the extra data, in this order, and the extra data
        /// has no other content.</summary>
        private static string Zip64(ZipRecord entry, byte[] extra)
        {
            bool size = entry.Size == 0xFFFFFFFF;
            bool compressedSize = entry.CompressedSize == 0xFFFFFFFF;
            bool offset = entry.Offset == 0xFFFFFFFF;
            int want = (size ? 8 : 0) + (compressedSize ? 8 : 0) + (offset ? 8 : 0);
            if (extra.Length == 0 && want == 0) { return ""; }
            if (extra.Length != want + 4 || Le.U16(extra, 0) != 1 || Le.U16(extra, 2) != want)
            {
                return "its extra data are not those of Zip64";
            }
            int at = 4;
            if (size) { entry.Size = Le.I64(extra, at); at += 8; }
            if (compressedSize) { entry.CompressedSize = Le.I64(extra, at); at += 8; }
            if (offset) { entry.Offset = Le.I64(extra, at); }
            if (entry.Size < 0 || entry.CompressedSize < 0 || entry.Offset < 0)
            {
                throw new ZipProblem(ZipName.Shown(BitConverter.ToString(entry.RawName)) + ": negative sizes");
            }
            return "";
        }

        private string Judge(ZipRecord entry, int comment)
        {
            ushort madeBy = Le.U16(header, 4);
            if (madeBy != MadeBy) { return "it was made by version " + madeBy + ", which is none of ours"; }
            if (entry.Version != 10 && entry.Version != 20 && entry.Version != 45)
            {
                return "it needs version " + entry.Version;
            }
            if ((entry.Flags & ~0x808) != 0) { return "its flags are 0x" + entry.Flags.ToString("x4"); }
            if (entry.Method != 0 && entry.Method != 8)
            {
                return "its method " + entry.Method + " is neither stored nor deflated";
            }
            if (entry.Method == 0 && entry.Size != entry.CompressedSize) { return "it is stored and has two sizes"; }
            if (comment != 0) { return "it has a comment"; }
            if (Le.U16(header, 34) != 0) { return "it lies on another disk"; }
            if (Le.U16(header, 36) != 0 || Le.U32(header, 38) != PlainFile)
            {
                return "it has other attributes than a plain file";
            }
            return "";
        }

        private void Read(byte[] target, int count)
        {
            if (count > left) { throw new ZipProblem("the central directory ends inside a record"); }
            left -= count;
            int at = 0;
            while (at < count)
            {
                if (next == end)
                {
                    next = 0;
                    end = stream.Read(buffer, 0, buffer.Length);
                    if (end <= 0)
                    {
                        end = 0;
                        throw new ZipProblem("the archive ends inside the central directory");
                    }
                }
                int part = Math.Min(count - at, end - next);
                Buffer.BlockCopy(buffer, next, target, at, part);
                next += part;
                at += part;
            }
        }
    }

    /// <summary>Which names are harmless: relative, legal on Windows, the same file on every system.</summary>
    internal static class ZipName
    {
        private static readonly HashSet<string> Devices = new HashSet<string>(StringComparer.OrdinalIgnoreCase)
        {
            "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$",
            "COM0", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
            "COM\u00b9", "COM\u00b2", "COM\u00b3",
            "LPT0", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
            "LPT\u00b9", "LPT\u00b2", "LPT\u00b3",
        };

        public static string Problem(string name)
        {
            if (name.Length == 0) { return "it has no name"; }
            foreach (char letter in name)
            {
                if (letter < ' ' || letter == 0x7F)
                {
                    return "its name has the control character 0x" + ((int)letter).ToString("x2");
                }
                if (letter == '\\') { return "its name has a backslash"; }
                if (letter == ':') { return "its name has a colon: a drive, or a stream beside a file"; }
                if ("<>\"|?*".IndexOf(letter) >= 0)
                {
                    return "its name has " + letter + ", which no file on Windows has";
                }
            }
            if (name[0] == '/') { return "its name is absolute"; }
            foreach (string part in name.Split('/'))
            {
                if (part.Length == 0) { return "its name has an empty part"; }
                if (part == "." || part == "..") { return "its name has the part " + part; }
                char last = part[part.Length - 1];
                if (last == '.' || last == ' ') { return "a part of its name ends with a dot or a space"; }
                int dot = part.IndexOf('.');
                if (Devices.Contains((dot < 0 ? part : part.Substring(0, dot)).TrimEnd(' ')))
                {
                    return "its name is that of a device, " + part;
                }
            }
            return "";
        }

        /// <summary>A name for people, in which control characters are replaced.</summary>
        public static string Shown(string name)
        {
            StringBuilder text = new StringBuilder(name.Length);
            foreach (char letter in name) { text.Append(char.IsControl(letter) ? '?' : letter); }
            return text.ToString();
        }

        /// <summary>Hash of the first letters of a name, the same for upper and lower case (FNV-1a).</summary>
        public static ulong Hash(string name, int length)
        {
            ulong hash = 14695981039346656037;
            for (int i = 0; i < length; i++)
            {
                char letter = name[i];
                if (letter >= 'a' && letter <= 'z') { letter = (char)(letter - 32); }
                else if (letter > 127) { letter = char.ToUpperInvariant(letter); }
                hash = unchecked((hash ^ letter) * 1099511628211);
            }
            return hash;
        }
    }

    /// <summary>Reads the archive from its first byte to its last, each byte once, and computes its SHA-256.</summary>
    internal sealed class ZipSource : IDisposable
    {
        private readonly Stream stream;
        private readonly byte[] buffer;
        private readonly ZipChecksum checksum = new ZipChecksum(false);
        private int next;
        private int end;

        public readonly long Length;

        public long Position { get; private set; }

        public ZipSource(Stream stream)
        {
            this.stream = stream;
            Length = stream.Length;
            buffer = new byte[Math.Max(1, Math.Min(Length, 1024 * 1024))];
        }

        public void Dispose()
        {
            stream.Dispose();
            checksum.Dispose();
        }

        public int Read(byte[] target, int offset, int count)
        {
            if (next == end && !Fill()) { return 0; }
            int part = Math.Min(count, end - next);
            Buffer.BlockCopy(buffer, next, target, offset, part);
            next += part;
            Position += part;
            return part;
        }

        public bool ReadFull(byte[] target, int count)
        {
            int have = 0;
            while (have < count)
            {
                int got = Read(target, have, count - have);
                if (got == 0) { return false; }
                have += got;
            }
            return true;
        }

        public bool SkipTo(long position)
        {
            while (Position < position)
            {
                if (next == end && !Fill()) { return false; }
                int part = (int)Math.Min(position - Position, end - next);
                next += part;
                Position += part;
            }
            return true;
        }

        public string Sha256()
        {
            return checksum.Finish();
        }

        private bool Fill()
        {
            next = 0;
            end = Math.Max(0, stream.Read(buffer, 0, buffer.Length));
            checksum.Add(buffer, 0, end);
            return end > 0;
        }
    }

    /// <summary>A stream of which nothing but Read is used.</summary>
    internal abstract class ReadOnce : Stream
    {
        public override bool CanRead { get { return true; } }
        public override bool CanSeek { get { return false; } }
        public override bool CanWrite { get { return false; } }
        public override long Length { get { throw new NotSupportedException(); } }
        public override long Position
        {
            get { throw new NotSupportedException(); }
            set { throw new NotSupportedException(); }
        }
        public override void Flush() { }
        public override long Seek(long offset, SeekOrigin origin) { throw new NotSupportedException(); }
        public override void SetLength(long value) { throw new NotSupportedException(); }
        public override void Write(byte[] buffer, int offset, int count) { throw new NotSupportedException(); }
    }

    /// <summary>
    /// A part of the archive. Its last byte is returned in a separate read. That shows whether the decompressor needed
    /// the last byte: if it ended before, the byte is left over.</summary>
    internal sealed class ZipLimited : ReadOnce
    {
        private readonly ZipSource source;

        public readonly long End;

        public ZipLimited(ZipSource source, long length)
        {
            this.source = source;
            End = source.Position + length;
        }

        public bool IsRead
        {
            get { return source.Position == End; }
        }

        public override int Read(byte[] buffer, int offset, int count)
        {
            long left = End - source.Position;
            if (left <= 0) { return 0; }
            if (count >= left) { count = (int)Math.Max(1, left - 1); }
            return source.Read(buffer, offset, count);
        }
    }

    /// <summary>The content of an entry while it is read and hashed.</summary>
    internal sealed class ZipContent : ReadOnce
    {
        private readonly ZipLimited compressed;
        private readonly ZipRecord entry;
        private readonly ZipChecksum checksum;
        private readonly Stream stream;
        private long read;
        private bool open = true;

        public Action<byte[], int, int> Copy;

        public string Sha256 { get; private set; }

        public ZipContent(ZipLimited compressed, ZipRecord entry, ZipChecksum checksum)
        {
            this.compressed = compressed;
            this.entry = entry;
            this.checksum = checksum;
            stream = entry.Method == 8
                ? new DeflateStream(compressed, CompressionMode.Decompress, true)
                : (Stream)compressed;
        }

        public override int Read(byte[] buffer, int offset, int count)
        {
            int got = stream.Read(buffer, offset, count);
            read += got;
            if (read > entry.Size)
            {
                throw new ZipProblem("it has more than the " + entry.Size + " bytes that the directory says");
            }
            checksum.Add(buffer, offset, got);
            if (Copy != null && got > 0) { Copy(buffer, offset, got); }
            return got;
        }

        public bool Judge(ProblemList problems)
        {
            open = false;
            Sha256 = checksum.Finish();
            bool good = true;
            if (read != entry.Size)
            {
                problems.Add(entry.Name + ": it has " + read + " bytes, the directory says " + entry.Size);
                good = false;
            }
            else if (checksum.Crc != entry.Crc)
            {
                problems.Add(entry.Name + ": its bytes do not have the CRC-32 of the directory");
                good = false;
            }
            if (!compressed.IsRead)
            {
                problems.Add(entry.Name + ": its compressed data end before their length says");
                good = false;
            }
            return good;
        }

        /// <summary>Discards an entry that was not checked, so that the checksum can be used for the next
        /// entry.</summary>
        public void Abandon()
        {
            if (open) { checksum.Finish(); }
            open = false;
            if (entry.Method == 8) { stream.Dispose(); }
        }
    }

    /// <summary>SHA-256, and CRC-32 if asked, of bytes as they come; for more than some hundred kilobytes on a separate
    /// thread, in parallel with the reading.</summary>
    internal sealed class ZipChecksum : IDisposable
    {
        private const int Block = 256 * 1024;
        private readonly bool withCrc;
        // This class, because it also works where FIPS mode forbids managed implementations.
        private readonly SHA256CryptoServiceProvider sha = new SHA256CryptoServiceProvider();
        private readonly AutoResetEvent wanted = new AutoResetEvent(false);
        private readonly AutoResetEvent done = new AutoResetEvent(true);
        private byte[] filling;
        private byte[] working;
        private int filled;
        private int workingCount;
        private uint crc;
        private Thread thread;
        private Exception error;
        private volatile bool ending;

        public uint Crc { get; private set; }

        public ZipChecksum(bool withCrc)
        {
            this.withCrc = withCrc;
        }

        public void Dispose()
        {
            if (thread != null)
            {
                done.WaitOne();
                ending = true;
                wanted.Set();
                thread.Join();
            }
            wanted.Dispose();
            done.Dispose();
            sha.Dispose();
        }

        public void Add(byte[] bytes, int offset, int count)
        {
            while (count > 0)
            {
                // Grown as needed: most entries are small.
                if (filling == null || (filled == filling.Length && filled < Block))
                {
                    Array.Resize(ref filling, filling == null ? 4096 : Math.Min(Block, filled * 4));
                }
                int part = Math.Min(count, filling.Length - filled);
                Buffer.BlockCopy(bytes, offset, filling, filled, part);
                filled += part;
                offset += part;
                count -= part;
                if (filled == Block) { HandOver(); }
            }
        }

        /// <summary>SHA-256 of all bytes that were added, as hexadecimal digits. Resets the hash.</summary>
        public string Finish()
        {
            if (thread != null)
            {
                Wait();
                done.Set();
            }
            if (filled > 0) { Update(filling, filled); }
            sha.TransformFinalBlock(new byte[0], 0, 0);
            string text = Hexadecimal(sha.Hash);
            sha.Initialize();
            Crc = crc;
            crc = 0;
            filled = 0;
            return text;
        }

        private void HandOver()
        {
            if (thread == null)
            {
                thread = new Thread(Work);
                thread.IsBackground = true;
                thread.Start();
            }
            Wait();
            byte[] free = working ?? new byte[Block];
            working = filling;
            workingCount = filled;
            filling = free;
            filled = 0;
            wanted.Set();
        }

        private void Wait()
        {
            done.WaitOne();
            if (error != null)
            {
                done.Set();
                throw new IOException("the checksum cannot be computed: " + error.Message, error);
            }
        }

        private void Work()
        {
            while (true)
            {
                wanted.WaitOne();
                if (ending) { return; }
                try { Update(working, workingCount); }
                catch (Exception thrown) { error = thrown; }
                done.Set();
            }
        }

        private void Update(byte[] bytes, int count)
        {
            if (withCrc) { crc = ZipCrc.Update(crc, bytes, 0, count); }
            sha.TransformBlock(bytes, 0, count, null, 0);
        }

        private static string Hexadecimal(byte[] bytes)
        {
            const string Digits = "0123456789abcdef";
            char[] text = new char[bytes.Length * 2];
            for (int i = 0; i < bytes.Length; i++)
            {
                text[2 * i] = Digits[bytes[i] >> 4];
                text[2 * i + 1] = Digits[bytes[i] & 15];
            }
            return new string(text);
        }
    }

    /// <summary>CRC-32, eight bytes at a time.</summary>
    internal static class ZipCrc
    {
        private static readonly uint[] Tables = MakeTables();

        private static uint[] MakeTables()
        {
            uint[] tables = new uint[8 * 256];
            for (uint i = 0; i < 256; i++)
            {
                uint value = i;
                for (int bit = 0; bit < 8; bit++) { value = (value & 1) != 0 ? 0xEDB88320 ^ value >> 1 : value >> 1; }
                tables[i] = value;
            }
            for (int i = 256; i < tables.Length; i++)
            {
                tables[i] = tables[i - 256] >> 8 ^ tables[tables[i - 256] & 0xFF];
            }
            return tables;
        }

        public static uint Update(uint crc, byte[] bytes, int offset, int count)
        {
            uint[] t = Tables;
            uint value = ~crc;
            int at = offset;
            int end = offset + count;
            for (; at + 8 <= end; at += 8)
            {
                uint low = value ^ Le.U32(bytes, at);
                value = t[0x700 + (low & 0xFF)] ^ t[0x600 + (low >> 8 & 0xFF)] ^ t[0x500 + (low >> 16 & 0xFF)]
                    ^ t[0x400 + (low >> 24)] ^ t[0x300 + bytes[at + 4]] ^ t[0x200 + bytes[at + 5]]
                    ^ t[0x100 + bytes[at + 6]] ^ t[bytes[at + 7]];
            }
            for (; at < end; at++) { value = t[(value ^ bytes[at]) & 0xFF] ^ value >> 8; }
            return ~value;
        }
    }
}
