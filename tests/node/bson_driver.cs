// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Reads each line as a document in hexadecimal and answers with what MongoClient.cs makes of it: written again, or why
// it is not a document. After the word text comes a password in hexadecimal, which is prepared for SCRAM.

using System;
using System.Collections.Generic;
using System.Text;
using AlteryxOps;

public static class BsonDriver
{
    public static void Main()
    {
        for (string line = Console.ReadLine(); line != null; line = Console.ReadLine())
        {
            Console.WriteLine(Answer(line));
        }
    }

    private static string Answer(string line)
    {
        bool isText = line.StartsWith("text ", StringComparison.Ordinal);
        if (isText) { line = line.Substring(5); }
        byte[] bytes = new byte[line.Length / 2];
        for (int at = 0; at < bytes.Length; at++) { bytes[at] = Convert.ToByte(line.Substring(2 * at, 2), 16); }
        try
        {
            if (isText) { return "ok " + Hexadecimal(PreparedText.Prepare(Encoding.UTF8.GetString(bytes))); }
            BsonMap map = BsonReader.Read(bytes, 0, bytes.Length);
            Simplify(map);
            BsonWriter writer = new BsonWriter();
            writer.Map(map);
            return "ok " + Hexadecimal(writer.ToArray());
        }
        catch (BsonMistake mistake) { return "mistake " + mistake.Message; }
        catch (MongoProblem problem) { return "mistake " + problem.Message; }
        catch (Exception other) { return "crash " + other; }
    }

    private static string Hexadecimal(string text)
    {
        return Hexadecimal(Encoding.UTF8.GetBytes(text));
    }

    private static string Hexadecimal(byte[] bytes)
    {
        return BitConverter.ToString(bytes).Replace("-", "").ToLowerInvariant();
    }

    // Values that the reader passes over are written as null.
    private static void Simplify(BsonMap map)
    {
        for (int place = 0; place < map.Count; place++)
        {
            map.Set(map.NameAt(place), Simple(map.ValueAt(place)));
        }
    }

    private static object Simple(object value)
    {
        List<object> list = value as List<object>;
        if (list != null)
        {
            for (int place = 0; place < list.Count; place++) { list[place] = Simple(list[place]); }
        }
        if (value is BsonMap) { Simplify((BsonMap)value); }
        return BsonMark.Other.Equals(value) ? null : value;
    }
}
