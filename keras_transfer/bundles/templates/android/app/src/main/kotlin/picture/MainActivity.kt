package picture

import android.Manifest.permission.CAMERA
import android.content.pm.PackageManager.PERMISSION_GRANTED
import android.graphics.Bitmap
import android.graphics.Matrix
import android.os.Bundle
import android.view.Gravity
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts.RequestPermission
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import java.util.concurrent.Executors

/** Shows the camera, and below it what the model says of what is seen. */
class MainActivity : ComponentActivity() {
    private val asking = Executors.newSingleThreadExecutor()
    private val about by lazy { About(assets) }
    private val model by lazy { Model.open(this, about) }
    private val preview by lazy { PreviewView(this) }
    private val said by lazy { TextView(this).apply { textSize = 20f; gravity = Gravity.CENTER } }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val room = LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 3f)
        val words = LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1f)
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                addView(preview, room)
                addView(said, words)
            },
        )
        if (checkSelfPermission(CAMERA) == PERMISSION_GRANTED) watch() else allowed.launch(CAMERA)
    }

    override fun onDestroy() {
        super.onDestroy()
        asking.execute { model.close() }
        asking.shutdown()
    }

    private val allowed = registerForActivityResult(RequestPermission()) { granted ->
        if (granted) watch() else said.text = "Allow the camera in the settings of this app, then open it again."
    }

    private fun watch() {
        val provider = ProcessCameraProvider.getInstance(this)
        provider.addListener({
            val shown = Preview.Builder().build().also { it.surfaceProvider = preview.surfaceProvider }
            val seen = ImageAnalysis.Builder()
                .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
                .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
                .build()
            seen.setAnalyzer(asking) { frame -> frame.use { tell(it) } }
            provider.get().bindToLifecycle(this, CameraSelector.DEFAULT_BACK_CAMERA, shown, seen)
        }, mainExecutor)
    }

    private fun tell(frame: ImageProxy) {
        val words = model.ask(upright(frame)).told(about)
        runOnUiThread { said.text = words }
    }

    private fun upright(frame: ImageProxy): Bitmap {
        val turned = Matrix().apply { postRotate(frame.imageInfo.rotationDegrees.toFloat()) }
        val pixels = frame.toBitmap()
        return Bitmap.createBitmap(pixels, 0, 0, pixels.width, pixels.height, turned, true)
    }
}
