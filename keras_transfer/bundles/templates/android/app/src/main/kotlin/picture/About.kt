package picture

import android.content.res.AssetManager
import org.json.JSONArray
import org.json.JSONObject

/** What the model is: `bundle.json`. */
class About(assets: AssetManager) {
    private val described = JSONObject(assets.text("bundle.json"))

    val file: String = described.getString("file")
    val task: String = described.getString("task")
    val side: Int = described.getInt("image_size")
    val aspect: String = described.getString("aspect")
    val tolerance: Double = described.getDouble("tolerance")
    val names: List<String> = described.getJSONArray("class_names").strings()
    val thresholds: List<Double> = described.getJSONArray("thresholds").doubles()
}

fun AssetManager.text(name: String): String = open(name).bufferedReader().use { it.readText() }

fun JSONArray.strings(): List<String> = List(length()) { getString(it) }

fun JSONArray.doubles(): List<Double> = List(length()) { getDouble(it) }
