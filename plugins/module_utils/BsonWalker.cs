// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Walks BSON documents, as mongodump writes them one after another, to their last byte. Lengths, type bytes,
// terminators and subtypes are checked. Values are not, neither numbers nor the UTF-8 of texts, because a server
// accepts any bytes there.

using System;
using System.IO;

namespace AlteryxOps
{
    public sealed class BsonResult
    {
        public long Documents;
        /// <summary>"" when every document is sound, else what is wrong and at which byte.</summary>
        public string Problem = "";
    }

    public static class BsonWalker
    {
        public static BsonResult Walk(Stream source)
        {
            BsonWalk walk = new BsonWalk(source);
            BsonResult result = new BsonResult();
            try
            {
                while (walk.Document()) { result.Documents++; }
            }
            catch (BsonProblem problem)
            {
                result.Problem =
                    "byte " + problem.Offset + ", document " + (result.Documents + 1) + ": " + problem.Message;
            }
            return result;
        }
    }

    internal sealed class BsonProblem : Exception
    {
        public readonly long Offset;

        public BsonProblem(long offset, string message) : base(message)
        {
            Offset = offset;
        }
    }

    internal sealed class BsonWalk
    {
        // The server allows 16 MB and a little for what it adds itself. A length of three times that cannot be a
        // document.
        private const int LargestDocument = 48 * 1024 * 1024;
        // The server allows 180 levels in what it stores (100 from clients, by default).
        private const int DeepestDocument = 200;

        private readonly Stream source;
        private readonly byte[] buffer = new byte[256 * 1024];
        // Offset of buffer[0] in the stream; what is read but not consumed is in buffer[next..end).
        private long origin;
        private int next;
        private int end;
        // Where each open document ends, outermost first.
        private readonly long[] ends = new long[DeepestDocument + 1];
        private int depth;

        public BsonWalk(Stream source)
        {
            this.source = source;
        }

        /// <summary>Walks one document; false at the end of the stream.</summary>
        public bool Document()
        {
            if (next == end && !Fill()) { return false; }
            depth = 0;
            Open(long.MaxValue);
            while (depth > 0)
            {
                if (next == end) { Need(1); }
                byte type = buffer[next++];
                if (type == 0) { Close(); }
                else { Element(type); }
            }
            return true;
        }

        private long Offset
        {
            get { return origin + next; }
        }

        /// <summary>Bytes until the terminator of the innermost document.</summary>
        private long Room
        {
            get { return ends[depth - 1] - 1 - Offset; }
        }

        private void Open(long limit)
        {
            long start = Offset;
            int length = Int32();
            if (length < 5 || length > LargestDocument)
            {
                throw new BsonProblem(start, "a document of " + length + " bytes");
            }
            if (length > limit - start)
            {
                throw new BsonProblem(start, "a document of " + length + " bytes is longer than what holds it");
            }
            if (depth == DeepestDocument)
            {
                throw new BsonProblem(start, "documents nested deeper than " + DeepestDocument);
            }
            ends[depth++] = start + length;
        }

        private void Close()
        {
            if (Offset != ends[depth - 1])
            {
                throw new BsonProblem(Offset - 1,
                    "a document ends here, " + (ends[depth - 1] - Offset) + " bytes before its length says");
            }
            depth--;
        }

        private void Element(byte type)
        {
            long start = Offset - 1;
            if (start >= ends[depth - 1] - 1)
            {
                throw new BsonProblem(start, "a document goes on where its length says it ends");
            }
            Text();
            switch (type)
            {
                case 0x06: // undefined
                case 0x0A: // null
                case 0x7F: // greatest key
                case 0xFF: // least key
                    break;
                case 0x08: // boolean
                    Inside(1);
                    if (buffer[next] > 1) { throw new BsonProblem(Offset, "a boolean of " + buffer[next]); }
                    next++;
                    break;
                case 0x10: // 32-bit integer
                    Inside(4);
                    next += 4;
                    break;
                case 0x01: // double
                case 0x09: // date
                case 0x11: // timestamp
                case 0x12: // 64-bit integer
                    Inside(8);
                    next += 8;
                    break;
                case 0x07: // object id
                    Inside(12);
                    next += 12;
                    break;
                case 0x13: // 128-bit decimal
                    Inside(16);
                    next += 16;
                    break;
                case 0x02: // string
                case 0x0D: // code
                case 0x0E: // symbol
                    String();
                    break;
                case 0x03: // document
                case 0x04: // array
                    Inside(5);
                    Open(ends[depth - 1] - 1);
                    break;
                case 0x05:
                    Binary();
                    break;
                case 0x0B: // regular expression: pattern and options
                    Text();
                    Text();
                    break;
                case 0x0C: // pointer into a collection
                    String();
                    Inside(12);
                    next += 12;
                    break;
                case 0x0F:
                    CodeWithScope();
                    break;
                default:
                    throw new BsonProblem(start, "0x" + type.ToString("x2") + " is no type");
            }
        }

        private void Binary()
        {
            long start = Offset;
            Inside(5);
            int length = Int32();
            byte subtype = buffer[next++];
            if (length < 0 || length > Room)
            {
                throw new BsonProblem(start, "binary data of " + length + " bytes do not fit into their document");
            }
            // The specification defines no subtype from 10 to 127. Those from 128 are free for applications.
            if (subtype > 9 && subtype < 128)
            {
                throw new BsonProblem(start + 4, "0x" + subtype.ToString("x2") + " is no subtype of binary data");
            }
            bool fixedLength = subtype == 3 || subtype == 4 || subtype == 5;
            if (fixedLength && length != 16)
            {
                throw new BsonProblem(start, "binary data of subtype " + subtype + " have 16 bytes, not " + length);
            }
            if (subtype == 2)
            {
                if (length < 4)
                {
                    throw new BsonProblem(start, "binary data of the old subtype have at least 4 bytes, not " + length);
                }
                int inner = Int32();
                if (inner != length - 4)
                {
                    throw new BsonProblem(
                        start + 5, "binary data of the old subtype name " + inner + " bytes and have " + (length - 4));
                }
                length = inner;
            }
            Skip(length);
        }

        private void CodeWithScope()
        {
            long start = Offset;
            Inside(14);
            int length = Int32();
            if (length < 14 || length > Room + 4)
            {
                throw new BsonProblem(start, "code with scope of " + length + " bytes does not fit into its document");
            }
            String();
            long scope = Offset;
            Inside(5);
            Open(ends[depth - 1] - 1);
            if (ends[depth - 1] != start + length)
            {
                throw new BsonProblem(scope, "the scope of code does not end where the code's length says");
            }
        }

        /// <summary>A length, that many bytes, the last of them zero.</summary>
        private void String()
        {
            long start = Offset;
            Inside(5);
            int length = Int32();
            if (length < 1 || length > Room)
            {
                throw new BsonProblem(start, "a string of " + length + " bytes does not fit into its document");
            }
            Skip(length - 1);
            if (next == end) { Need(1); }
            if (buffer[next] != 0)
            {
                throw new BsonProblem(Offset, "a string is not terminated where its length says");
            }
            next++;
        }

        /// <summary>Bytes up to a zero byte: names, patterns.</summary>
        private void Text()
        {
            long start = Offset;
            long room = Room;
            while (true)
            {
                if (next == end) { Need(1); }
                long stop = Math.Min(end, next + room);
                int at = next;
                while (at < stop && buffer[at] != 0) { at++; }
                room -= at - next;
                next = at;
                if (at < stop)
                {
                    next++;
                    return;
                }
                if (room <= 0)
                {
                    throw new BsonProblem(start, "a name or pattern is not terminated inside its document");
                }
            }
        }

        /// <summary>Asks for bytes of one value: inside the innermost document, and in the buffer.</summary>
        private void Inside(int count)
        {
            if (count > Room)
            {
                throw new BsonProblem(Offset, "a value of " + count + " bytes or more does not fit into its document");
            }
            if (end - next < count) { Need(count); }
        }

        private int Int32()
        {
            if (end - next < 4) { Need(4); }
            int value = buffer[next] | buffer[next + 1] << 8 | buffer[next + 2] << 16 | buffer[next + 3] << 24;
            next += 4;
            return value;
        }

        private void Skip(int count)
        {
            while (count > end - next)
            {
                count -= end - next;
                next = end;
                if (!Fill()) { throw Truncated(); }
            }
            next += count;
        }

        private void Need(int count)
        {
            while (end - next < count)
            {
                if (!Fill()) { throw Truncated(); }
            }
        }

        private BsonProblem Truncated()
        {
            return new BsonProblem(origin + end, "the data end inside a document");
        }

        /// <summary>Reads more bytes and keeps those not consumed yet; false at the end of the stream.</summary>
        private bool Fill()
        {
            if (next > 0)
            {
                Buffer.BlockCopy(buffer, next, buffer, 0, end - next);
                origin += next;
                end -= next;
                next = 0;
            }
            int count = source.Read(buffer, end, buffer.Length - end);
            end += count;
            return count > 0;
        }
    }
}
