// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The zip container, written from its first byte to its last without going back, so that its SHA-256 is known when its
// last byte is written. Values that are known only after an entry (CRC, sizes) are therefore in a data descriptor after
// it, with 8-byte sizes, which the Zip64 extra of every local header announces.
//
// Every entry has the method deflate. An entry that must not be compressed consists of stored blocks of deflate. With
// the method "stored" and a descriptor, a program that reads the container as a stream could not find the end of the
// entry, and strict readers refuse that.
//
// A second thread compresses, hashes the container and writes it, while the calling thread reads and hashes the next
// block.

using System;
using System.Collections.Concurrent;
using System.IO;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Threading;

namespace AlteryxOps
{
    public sealed class ZipWriter : IDisposable
    {
        private const int BlockSize = 512 * 1024;
        private const int Blocks = 6;
        private const int ProgressMilliseconds = 400;

        internal readonly Crc32 Crc = new Crc32();
        internal readonly HashAlgorithm EntryHash = new SHA256CryptoServiceProvider();
        private readonly BlockingCollection<byte[]> free = new BlockingCollection<byte[]>();
        private readonly BlockingCollection<Piece> pieces = new BlockingCollection<Piece>();
        private readonly ZipContainer container;
        private readonly Thread worker;
        private volatile Exception broken;
        private ZipEntry open;
        private int reported = Environment.TickCount;

        /// <param name="path">A new file; an existing one is an error.</param>
        /// <param name="spool">A temporary file for the central directory, gone again after Dispose or the
        /// end of the process.</param>
        /// <param name="level">Of the deflate codec.</param>
        public ZipWriter(string path, string spool, CompressionLevel level)
        {
            for (int count = 0; count < Blocks; count++) { free.Add(new byte[BlockSize]); }
            container = new ZipContainer(path, spool, level);
            worker = new Thread(Work);
            worker.IsBackground = true;
            worker.Start();
        }

        /// <summary>Called with BytesRead about twice a second while entries are read, on the reading thread.</summary>
        public Action<long> OnProgress { get; set; }

        /// <summary>Bytes of all sources so far.</summary>
        public long BytesRead { get; private set; }

        /// <summary>SHA-256 and size of the finished file.</summary>
        public string Sha256 { get; private set; }
        public long Bytes { get; private set; }

        /// <summary>Begins an entry. All that is read from the result is written to the entry; Finish reads and writes
        /// the rest.</summary>
        public ZipEntry Add(string name, Stream source, DateTime modified, bool compress)
        {
            if (open != null) { throw new InvalidOperationException("the entry before is not finished"); }
            byte[] encoded = new UTF8Encoding(false, true).GetBytes(name);
            if (encoded.Length > ushort.MaxValue)
            {
                throw new InvalidOperationException(
                    "a name of " + encoded.Length + " bytes does not fit into a zip: " + name);
            }
            open = new ZipEntry(this, source);
            Hand(new Piece { Begin = true, Name = encoded, Modified = modified, Compress = compress });
            return open;
        }

        /// <summary>Writes what follows the entries, brings all to the disk and closes the file.</summary>
        public void Finish()
        {
            EndWorker();
            Check();
            container.Finish();
            Sha256 = container.Sha256;
            Bytes = container.Position;
        }

        public void Dispose()
        {
            EndWorker();
            container.Dispose();
            EntryHash.Dispose();
        }

        internal byte[] TakeBlock()
        {
            byte[] block = free.Take();
            Check();
            return block;
        }

        internal void Hand(byte[] block, int count)
        {
            Hand(new Piece { Block = block, Count = count });
        }

        internal void End(uint crc, long size)
        {
            Hand(new Piece { End = true, Crc = crc, Size = size });
            open = null;
        }

        internal void Report(int count)
        {
            BytesRead += count;
            int now = Environment.TickCount;
            if (OnProgress == null || unchecked(now - reported) < ProgressMilliseconds) { return; }
            reported = now;
            OnProgress(BytesRead);
        }

        private void Hand(Piece piece)
        {
            Check();
            pieces.Add(piece);
        }

        private void Check()
        {
            if (broken != null) { throw new IOException(broken.Message, broken); }
        }

        private void EndWorker()
        {
            if (!pieces.IsAddingCompleted) { pieces.CompleteAdding(); }
            worker.Join();
        }

        private void Work()
        {
            foreach (Piece piece in pieces.GetConsumingEnumerable())
            {
                try
                {
                    if (broken != null) { }
                    else if (piece.Begin) { container.Begin(piece.Name, piece.Modified, piece.Compress); }
                    else if (piece.End) { container.End(piece.Crc, piece.Size); }
                    else { container.Write(piece.Block, piece.Count); }
                }
                // The other thread receives this failure with its next block.
                catch (Exception error) { broken = error; }
                if (piece.Block != null) { free.Add(piece.Block); }
            }
        }

        private sealed class Piece
        {
            internal bool Begin;
            internal byte[] Name;
            internal DateTime Modified;
            internal bool Compress;
            internal byte[] Block;
            internal int Count;
            internal bool End;
            internal uint Crc;
            internal long Size;
        }
    }

    /// <summary>The source of an entry: each block that is read from it is also written to the entry.</summary>
    public sealed class ZipEntry : Stream
    {
        private readonly ZipWriter writer;
        private readonly Stream source;
        private byte[] block;
        private int filled;
        private int next;
        private bool ended;

        internal ZipEntry(ZipWriter writer, Stream source)
        {
            this.writer = writer;
            this.source = source;
            writer.Crc.Reset();
            writer.EntryHash.Initialize();
        }

        /// <summary>Size and SHA-256 of the source, once the entry is finished.</summary>
        public long Bytes { get; private set; }
        public string Sha256 { get; private set; }

        public override int Read(byte[] buffer, int offset, int count)
        {
            if (next == filled && !(Fill() && filled > 0)) { return 0; }
            int got = Math.Min(count, filled - next);
            Buffer.BlockCopy(block, next, buffer, offset, got);
            next += got;
            return got;
        }

        /// <summary>Reads and writes the rest of the source, and ends the entry.</summary>
        public void Finish()
        {
            while (Fill()) { }
            writer.EntryHash.TransformFinalBlock(new byte[0], 0, 0);
            Sha256 = Hexadecimal.Of(writer.EntryHash.Hash);
            writer.End(writer.Crc.Value, Bytes);
        }

        // Reads the next block. The block before was read completely, and is now passed to the other thread.
        private bool Fill()
        {
            if (block != null) { writer.Hand(block, filled); }
            block = null;
            next = 0;
            filled = 0;
            if (ended) { return false; }
            byte[] fresh = writer.TakeBlock();
            for (int got; filled < fresh.Length && (got = source.Read(fresh, filled, fresh.Length - filled)) > 0; )
            {
                filled += got;
            }
            block = fresh;
            ended = filled < fresh.Length;
            writer.Crc.Add(block, filled);
            writer.EntryHash.TransformBlock(block, 0, filled, null, 0);
            Bytes += filled;
            writer.Report(filled);
            return true;
        }

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

    /// <summary>The bytes of the container, in their order.</summary>
    internal sealed class ZipContainer : IDisposable
    {
        private const ushort Version = 45;
        private const ushort DescriptorFollows = 0x0008;
        private const ushort NamesAreUtf8 = 0x0800;
        private const ushort Deflate = 8;
        // Not made on FAT (0): then unzip reads the names as a code page of DOS, although their flag says UTF-8.
        private const ushort MadeOnUnix = 3 << 8;
        private const uint PlainFile = 0x81A40000; // rw-r--r--
        private const ushort Zip64 = 1;
        private const uint Elsewhere = 0xFFFFFFFF;

        private readonly HashingFile file;
        private readonly BinaryWriter output;
        private readonly BinaryWriter directory;
        private readonly CompressionLevel level;
        private long count;
        // The entry that is being written.
        private byte[] name;
        private uint moment;
        private long start;
        private long content;
        private Stream codec;

        internal ZipContainer(string path, string spool, CompressionLevel level)
        {
            this.level = level;
            directory = new BinaryWriter(new FileStream(
                spool, FileMode.Create, FileAccess.ReadWrite, FileShare.None, 65536, FileOptions.DeleteOnClose));
            try { file = new HashingFile(path); }
            catch
            {
                directory.Dispose();
                throw;
            }
            output = new BinaryWriter(file);
        }

        internal string Sha256 { get; private set; }

        internal long Position
        {
            get { return file.Position; }
        }

        internal void Begin(byte[] entryName, DateTime modified, bool compress)
        {
            name = entryName;
            moment = DosTime(modified);
            start = file.Position;
            output.Write(0x04034b50u);
            output.Write(Version);
            output.Write((ushort)(DescriptorFollows | NamesAreUtf8));
            output.Write(Deflate);
            output.Write(moment);
            output.Write(0u);
            output.Write(Elsewhere);
            output.Write(Elsewhere);
            output.Write((ushort)name.Length);
            output.Write((ushort)20);
            output.Write(name);
            output.Write(Zip64);
            output.Write((ushort)16);
            output.Write(0L);
            output.Write(0L);
            content = file.Position;
            codec = compress && level != CompressionLevel.NoCompression
                ? (Stream)new DeflateStream(file, level, true)
                : new StoredBlocks(file);
        }

        internal void Write(byte[] block, int length)
        {
            if (length > 0) { codec.Write(block, 0, length); }
        }

        internal void End(uint crc, long size)
        {
            codec.Dispose();
            // DeflateStream writes no bytes for an empty source, but a deflate stream needs a last block. This is the
            // shortest one.
            if (file.Position == content) { output.Write((ushort)0x0003); }
            long packed = file.Position - content;
            output.Write(0x08074b50u);
            output.Write(crc);
            output.Write(packed);
            output.Write(size);
            List(crc, size, packed);
            count++;
        }

        internal void Finish()
        {
            long begin = file.Position;
            directory.Flush();
            directory.BaseStream.Position = 0;
            directory.BaseStream.CopyTo(file, 65536);
            long end = file.Position;
            if (count >= ushort.MaxValue || end >= Elsewhere)
            {
                output.Write(0x06064b50u);
                output.Write(44L);
                output.Write(Version);
                output.Write(Version);
                output.Write(0u);
                output.Write(0u);
                output.Write(count);
                output.Write(count);
                output.Write(end - begin);
                output.Write(begin);
                output.Write(0x07064b50u);
                output.Write(0u);
                output.Write(end);
                output.Write(1u);
            }
            output.Write(0x06054b50u);
            output.Write((ushort)0);
            output.Write((ushort)0);
            output.Write((ushort)Math.Min(count, ushort.MaxValue));
            output.Write((ushort)Math.Min(count, ushort.MaxValue));
            output.Write((uint)Math.Min(end - begin, Elsewhere));
            output.Write((uint)Math.Min(begin, Elsewhere));
            output.Write((ushort)0);
            Sha256 = file.Finish();
        }

        public void Dispose()
        {
            directory.Dispose();
            file.Dispose();
        }

        // The entry's record in the central directory; values that do not fit into 32 bits are in its Zip64 extra.
        private void List(uint crc, long size, long packed)
        {
            MemoryStream extra = new MemoryStream();
            BinaryWriter large = new BinaryWriter(extra);
            if (size >= Elsewhere) { large.Write(size); }
            if (packed >= Elsewhere) { large.Write(packed); }
            if (start >= Elsewhere) { large.Write(start); }
            directory.Write(0x02014b50u);
            directory.Write((ushort)(MadeOnUnix | Version));
            directory.Write(Version);
            directory.Write((ushort)(DescriptorFollows | NamesAreUtf8));
            directory.Write(Deflate);
            directory.Write(moment);
            directory.Write(crc);
            directory.Write((uint)Math.Min(packed, Elsewhere));
            directory.Write((uint)Math.Min(size, Elsewhere));
            directory.Write((ushort)name.Length);
            directory.Write((ushort)(extra.Length == 0 ? 0 : extra.Length + 4));
            directory.Write((ushort)0);
            directory.Write((ushort)0);
            directory.Write((ushort)0);
            directory.Write(PlainFile);
            directory.Write((uint)Math.Min(start, Elsewhere));
            directory.Write(name);
            if (extra.Length == 0) { return; }
            directory.Write(Zip64);
            directory.Write((ushort)extra.Length);
            directory.Write(extra.ToArray());
        }

        // Local time in steps of two seconds, for the years 1980 to 2107.
        private static uint DosTime(DateTime modified)
        {
            DateTime time = modified.ToLocalTime();
            if (time.Year < 1980) { time = new DateTime(1980, 1, 1); }
            if (time.Year > 2107) { time = new DateTime(2107, 12, 31, 23, 59, 58); }
            int date = (time.Year - 1980) << 9 | time.Month << 5 | time.Day;
            return (uint)date << 16 | (uint)(time.Hour << 11 | time.Minute << 5 | time.Second / 2);
        }
    }

    /// <summary>Deflate that does not compress: blocks of up to 64 KB as they are.</summary>
    internal sealed class StoredBlocks : SinkStream
    {
        private readonly Stream output;

        internal StoredBlocks(Stream output)
        {
            this.output = output;
        }

        public override void Write(byte[] buffer, int offset, int count)
        {
            for (int length; count > 0; offset += length, count -= length)
            {
                length = Math.Min(count, ushort.MaxValue);
                WriteHeader(0, length);
                output.Write(buffer, offset, length);
            }
        }

        protected override void Dispose(bool disposing)
        {
            WriteHeader(1, 0);
            base.Dispose(disposing);
        }

        private void WriteHeader(byte last, int length)
        {
            output.Write(
                new byte[] { last, (byte)length, (byte)(length >> 8), (byte)~length, (byte)(~length >> 8) }, 0, 5);
        }
    }

    /// <summary>A new file, its position and the SHA-256 of all that was written to it.</summary>
    internal sealed class HashingFile : SinkStream
    {
        private readonly FileStream file;
        private readonly HashAlgorithm hash = new SHA256CryptoServiceProvider();
        private readonly byte[] buffer = new byte[1024 * 1024];
        private int filled;
        private long flushed;

        internal HashingFile(string path)
        {
            file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, 4096);
        }

        public override long Position
        {
            get { return flushed + filled; }
            set { throw new NotSupportedException(); }
        }

        public override void Write(byte[] source, int offset, int count)
        {
            for (int length; count > 0; offset += length, count -= length)
            {
                length = Math.Min(count, buffer.Length - filled);
                Buffer.BlockCopy(source, offset, buffer, filled, length);
                filled += length;
                if (filled == buffer.Length) { Drain(); }
            }
        }

        internal string Finish()
        {
            Drain();
            hash.TransformFinalBlock(buffer, 0, 0);
            file.Flush(true);
            file.Dispose();
            return Hexadecimal.Of(hash.Hash);
        }

        protected override void Dispose(bool disposing)
        {
            file.Dispose();
            hash.Dispose();
            base.Dispose(disposing);
        }

        private void Drain()
        {
            hash.TransformBlock(buffer, 0, filled, null, 0);
            file.Write(buffer, 0, filled);
            flushed += filled;
            filled = 0;
        }
    }

    /// <summary>A stream that can only be written to.</summary>
    internal abstract class SinkStream : Stream
    {
        public override bool CanRead { get { return false; } }
        public override bool CanSeek { get { return false; } }
        public override bool CanWrite { get { return true; } }
        public override long Length { get { throw new NotSupportedException(); } }
        public override long Position
        {
            get { throw new NotSupportedException(); }
            set { throw new NotSupportedException(); }
        }
        public override void Flush() { }
        public override long Seek(long offset, SeekOrigin origin) { throw new NotSupportedException(); }
        public override void SetLength(long value) { throw new NotSupportedException(); }
        public override int Read(byte[] buffer, int offset, int count) { throw new NotSupportedException(); }
    }

    internal static class Hexadecimal
    {
        internal static string Of(byte[] bytes)
        {
            return BitConverter.ToString(bytes).Replace("-", "").ToLowerInvariant();
        }
    }

    /// <summary>CRC-32 as zip has it (polynomial 0xEDB88320), eight bytes a step.</summary>
    internal sealed class Crc32
    {
        private static readonly uint[][] Tables = MakeTables();
        private uint state = 0xFFFFFFFF;

        internal uint Value
        {
            get { return ~state; }
        }

        internal void Reset()
        {
            state = 0xFFFFFFFF;
        }

        internal void Add(byte[] bytes, int count)
        {
            uint[] t0 = Tables[0], t1 = Tables[1], t2 = Tables[2], t3 = Tables[3];
            uint[] t4 = Tables[4], t5 = Tables[5], t6 = Tables[6], t7 = Tables[7];
            uint crc = state;
            int at = 0;
            for (; at + 8 <= count; at += 8)
            {
                uint low = crc ^ (uint)(bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24);
                crc = t7[low & 0xFF] ^ t6[(low >> 8) & 0xFF] ^ t5[(low >> 16) & 0xFF] ^ t4[low >> 24]
                    ^ t3[bytes[at + 4]] ^ t2[bytes[at + 5]] ^ t1[bytes[at + 6]] ^ t0[bytes[at + 7]];
            }
            for (; at < count; at++) { crc = t0[(crc ^ bytes[at]) & 0xFF] ^ (crc >> 8); }
            state = crc;
        }

        private static uint[][] MakeTables()
        {
            uint[][] tables = new uint[8][];
            for (int table = 0; table < 8; table++)
            {
                tables[table] = new uint[256];
                for (uint value = 0; value < 256; value++)
                {
                    uint crc = table == 0 ? value : tables[table - 1][value];
                    if (table > 0) { crc = tables[0][crc & 0xFF] ^ (crc >> 8); }
                    else
                    {
                        for (int bit = 0; bit < 8; bit++) { crc = (crc & 1) == 0 ? crc >> 1 : (crc >> 1) ^ 0xEDB88320; }
                    }
                    tables[table][value] = crc;
                }
            }
            return tables;
        }
    }
}
